// The page: one report, its answer and what is asked further; nothing of it is kept but in this tab.

import { ask, modelState, Refused } from "./ask.js";
import { Turn } from "./answer.js";
import { Composer, labelOf } from "./composer.js";
import { $, $$, h, icon, reader, say, setLanguage, word, wordsOf } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { reportToKeep } from "./files.js";
import { forget, keep, kept } from "./kept.js";
import { mountPanel, open, reload } from "./panel.js";
import { tokenForm } from "./token.js";

const SCHEMES = ["system", "light", "dark"];
const KEPT_TURNS = 19; // After the report: the server takes twenty.

/** @type {Turn[]} */
let turns = [];
/** @type {AbortController | null} */
let running = null;
let model = "";

const stop = () => running?.abort();
const composer = new Composer($("#kb-composer"), { send, stop });

// ---- a question

/** @param {{text: string, label: string}} asked */
async function send(asked) {
  const turn = add(asked);
  show();
  turn.element.scrollIntoView({ block: "start" });
  // What was clicked may be gone, and on a phone the keyboard would stay over the answer.
  if (!$("#kb-composer").contains(document.activeElement) || matchMedia("(hover: none)").matches) turn.focus();
  await answer(turn);
}

/** One more turn at the end. @param {{text: string, label: string}} asked */
function add(asked) {
  const turn = new Turn({ ...asked, previous: turns.at(-1) }, { open, notIt, stop });
  for (const old of $$(".kb-not-it")) old.remove(); // It is the last answer that was not it.
  $("#kb-turns").append(turn.element);
  turns.push(turn);
  return turn;
}

const notIt = () => send({ text: word("not_it_text"), label: word("not_it_text") });

/** Ask, and show what comes; what goes wrong is told in the turn, with a way on. */
async function answer(turn) {
  stop(); // One answer at a time, an older one's retry too.
  const own = new AbortController();
  running = own;
  composer.set({ isBusy: true });
  say(word("reading"));
  try {
    for await (const event of ask({ text: turn.asked.text, conversation: conversation(turn) }, own.signal)) turn.take(event);
    say(turn.isAnswered ? word("done", { title: turn.hits[0].title }) : word("none"));
  } catch (error) {
    if (error.name === "AbortError") turn.cut(h("p.kb-muted", {}, word("stopped")));
    else if (error instanceof Refused) refused(turn, error);
    else throw error;
  } finally {
    if (running === own) {
      running = null;
      composer.set({ isBusy: false });
    }
    if (turns.includes(turn)) keep(turns);
  }
}

/** What came before a question, oldest first; the report itself always goes along. */
function conversation(turn) {
  const [first, ...others] = turns.slice(0, turns.indexOf(turn)).filter((one) => one.answer);
  if (!first) return [];
  return [first, ...others.slice(-KEPT_TURNS + 1)].map((one) => ({ question: reportToKeep(one.asked.text, one.lines), answer: one.answer }));
}

// ---- what goes wrong

function refused(turn, error) {
  const again = () => {
    const fresh = new Turn(turn.asked, { open, notIt, stop });
    turn.element.replaceWith(fresh.element);
    turns[turns.indexOf(turn)] = fresh;
    answer(fresh);
  };
  if (error.status === 401) return turn.cut(tokenForm(again));
  const wasWriting = turn.answer !== "";
  const said = h("p", {}, error.message || word(wasWriting ? "broke_off" : "away"));
  const retry = h("button.kb-button", { type: "button", onclick: again }, word("retry"));
  const isOurs = error.status === 413 || error.status === 422; // Asked again, it would be refused again.
  turn.cut(h("div.kb-notice", { role: "alert" }, said, isOurs ? null : retry));
  if (error.seconds) countDown(error.seconds, said, retry);
}

function countDown(seconds, said, button) {
  button.disabled = true;
  const until = performance.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    button.disabled = left > 0;
    said.textContent = left > 0 ? word("wait", { seconds: left }) : "";
    if (left > 0 && button.isConnected) setTimeout(tick, 250);
  };
  tick();
}

// ---- the frame

function show() {
  const isEmpty = !turns.length;
  document.body.dataset.state = isEmpty ? "empty" : "asked";
  $("#kb-new").hidden = isEmpty;
  composer.set({ isMore: !isEmpty });
}

function startAnew() {
  stop();
  forget();
  turns = [];
  $("#kb-turns").replaceChildren();
  composer.clear();
  show();
  say("");
  scrollTo(0, 0);
  composer.input.focus();
}

/** The turns that this tab had before it was loaded again. */
function restore() {
  try {
    for (const { events, ...asked } of kept()) {
      const turn = add(asked);
      for (const event of events) turn.take(event);
      if (events.at(-1)?.name !== "done") turn.cut(h("p.kb-muted", {}, word("stopped")));
    }
  } catch (error) {
    startAnew(); // An older page kept them.
    console.info(error);
  }
}

function words() {
  document.documentElement.lang = reader.language;
  document.title = word("page_title");
  for (const element of $$("[data-word]")) element.textContent = word(element.dataset.word);
  const language = $("#kb-language");
  language.textContent = word("other_language");
  language.lang = word("other_language_code");
  $("#kb-new").setAttribute("aria-label", word("new_report"));
  composer.model.textContent = wordsOf("model")[model] ?? "";
  composer.words();
  showScheme();
  showExamples();
}

function showScheme() {
  const choice = globalThis.kbaskScheme.chosen();
  const name = wordsOf("scheme")[choice];
  $("#kb-scheme").replaceChildren(icon(choice));
  $("#kb-scheme").setAttribute("aria-label", name);
  $("#kb-scheme").title = name;
}

function showExamples() {
  const button = ({ kind, title, text }) =>
    h("li", {}, h("button.kb-example", { type: "button", onclick: () => send({ text: textOf(text), label: labelOf(textOf(text)) }) },
      h("span.kb-chip", {}, wordsOf("example_kinds")[kind]), h("span.kb-example__title", {}, textOf(title))));
  $("#kb-examples").replaceChildren(h("h2", { id: "kb-examples-title" }, word("examples")), h("ul", {}, EXAMPLES.map(button)));
}

/** A text that is the same in both languages, or the one of the page's. */
const textOf = (given) => (typeof given === "string" ? given : given[reader.language]);

/** A paste from the docs site's button: only from the page that opened this one, only of an origin that the server names. */
function mountHandover() {
  if (!globalThis.opener) return;
  const origins = $('meta[name="kbask-origins"]').content.split(" ").filter(Boolean);
  addEventListener("message", ({ source, origin, data }) => {
    if (source !== globalThis.opener || !origins.includes(origin)) return;
    if (data?.kind !== "kbask-paste" || typeof data.text !== "string") return;
    if (!reader.hasChosen && (data.language === "en" || data.language === "zh")) {
      setLanguage(data.language, false);
      words();
    }
    if (turns.length) startAnew();
    composer.fill(data.text);
  });
  globalThis.opener.postMessage("kbask-ready", "*"); // Carries nothing, so that any page may hear it.
}

$("#kb-new").addEventListener("click", startAnew);
$(".kb-header__home").addEventListener("click", (event) => event.ctrlKey || event.metaKey || forget());
$("#kb-language").addEventListener("click", () => {
  setLanguage(reader.language === "en" ? "zh" : "en", true);
  words();
  reload();
});
$("#kb-scheme").addEventListener("click", () => {
  globalThis.kbaskScheme.choose(SCHEMES[(SCHEMES.indexOf(globalThis.kbaskScheme.chosen()) + 1) % SCHEMES.length]);
  showScheme();
  say(wordsOf("scheme")[globalThis.kbaskScheme.chosen()]);
});
words();
restore();
show();
mountPanel($("#kb-panel"));
mountHandover();
modelState().then((state) => {
  model = state;
  words();
});
