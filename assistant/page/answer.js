// One question and its answer, filled from the events as they come. HTML comes from the server alone; all else is text.

import { $, $$, confidence, copyButton, fromServer, h, reader, webLink, word } from "./dom.js";
import { understood } from "./understood.js";
import { entry, script } from "./ask.js";

const MOST_HITS = 5;
const WORTH_SHOWING = 0.05; // The confidence from which on an entry beside the first is named.
const SHOWN_SOURCES = 3;

/** A question and what is answered to it. */
export class Turn {
  /**
   * @param {{text: string, label: string, previous?: Turn}} asked
   * @param {{open: (wanted: import("./panel.js").Wanted) => void, notIt: () => void, stop: () => void}} does
   */
  constructor(asked, does) {
    this.asked = asked;
    this.does = does;
    this.events = []; // As they came.
    this.told = new Set(); // What stands in the head, the commands and the sources, here or in an earlier answer of the same entry.
    this.answer = ""; // As Markdown, block by block: what goes with a follow-up.
    this.lines = [];
    this.hits = [];
    this.read = h("div.kb-turn__read");
    this.working = h("p.kb-working", {}, h("span.kb-working__dot", { "aria-hidden": "true" }), h("span.kb-working__text", {}, word("reading")),
      h("button.kb-link", { type: "button", onclick: () => this.does.stop() }, word("stop")));
    this.blocks = h("div.kb-answer", { "aria-live": "polite" });
    this.end = h("div.kb-turn__end");
    this.found = h("div.kb-turn__found");
    this.element = h(
      `article.kb-turn${asked.previous ? ".kb-turn--more" : ""}`,
      { lang: reader.language, "aria-label": asked.label },
      h("div.kb-turn__body", {}, h("h2.kb-question", { tabindex: "-1" }, asked.label), this.read, this.blocks, this.working, this.end),
      this.found,
    );
  }

  /** Take an event. @param {{name: string, data: any}} event */
  take({ name, data }) {
    this.events.push({ name, data });
    if (name === "understood") this.takeUnderstood(data);
    else if (name === "hits") this.takeHits(data.hits);
    else if (name === "block") this.takeBlock(data);
    else if (name === "done") this.takeDone(data);
  }

  focus() {
    $(".kb-question", this.element).focus({ preventScroll: true });
  }

  tell(text) {
    $(".kb-working__text", this.working).textContent = text;
  }

  takeUnderstood(data) {
    this.lines = data.lines;
    this.element.lang = data.language;
    const { previous } = this.asked;
    const isAsBefore = previous && JSON.stringify(previous.lines) === JSON.stringify(data.lines);
    if (!isAsBefore) this.showRead = (matched) => this.read.replaceChildren(...[understood(data, this.asked.text, matched)].filter(Boolean));
    this.showRead?.([]);
    this.tell(word("searching"));
  }

  takeHits(hits) {
    this.hits = hits;
    this.showRead?.(hits[0]?.matched ?? []);
    const { previous } = this.asked;
    this.goesOn = Boolean(hits.length && previous?.isAnswered && previous.hits[0].entry === hits[0].entry);
    if (this.goesOn) this.told = new Set(previous.told);
    this.shown = hits.slice(0, MOST_HITS).filter((hit, place) => place === 0 || hit.confidence >= WORTH_SHOWING);
    const shown = this.goesOn && namesOf(this.shown) === namesOf(previous.shown) ? [] : this.shown;
    if (!shown.length) return;
    this.found.replaceChildren(
      h("h3.kb-found__title", {}, word("entries")),
      h("ol.kb-found", {}, shown.map((hit) => this.hit(hit))),
    );
  }

  hit(hit) {
    const [matched] = hit.matched.filter((line) => !line.startsWith("said: "));
    return h(
      "li",
      {},
      h("a.kb-found__link", { href: `/?entry=${hit.entry}`, "data-entry": hit.entry, title: word("open_beside") }, hit.title),
      confidence(hit.confidence),
      matched ? h("code.kb-found__line", { title: `${word("matched")}: ${matched}` }, matched) : null,
    );
  }

  takeBlock({ kind, text, html }) {
    this.answer += `${this.answer ? "\n\n" : ""}${text}`;
    if (kind === "head") this.blocks.append(this.head(html));
    else if (kind === "claim") this.group("claims", word("by_model", { model: word("a_model") })).append(h("div.kb-claim", {}, this.linked(html)));
    else if (kind === "step") this.group("steps", word("own_words")).append(this.step(html));
    else if (kind === "run") this.group("run", word("run")).append(this.run(html));
    else if (kind === "notice") this.blocks.append(h("div.kb-notice", {}, this.linked(html)));
    else if (kind === "body") this.blocks.append(h("div.kb-body", {}, this.linked(html)));
    this.tell(word(kind === "head" ? "writing" : "checking"));
  }

  /** The last group where it is of this kind, else a new one with its label. */
  group(kind, label) {
    const last = this.blocks.lastElementChild;
    if (last?.dataset.group === kind) return last;
    const added = h(`section.kb-group-${kind}`, { "data-group": kind }, h("p.kb-label", {}, label));
    this.blocks.append(added);
    return added;
  }

  /** What the server made, its headings below those of the page, and its citations as chips. */
  linked(html) {
    const content = fromServer(html);
    for (const heading of $$("h1, h2, h3, h4", content)) {
      const lower = h(`h${Math.min(Number(heading.tagName[1]) + 2, 6)}`, {}, ...heading.childNodes);
      heading.replaceWith(lower);
    }
    markCitations(content);
    const titles = new Map(this.hits.map((hit) => [hit.entry, hit.title]));
    for (const code of $$("code", content))
      if (titles.has(code.textContent) && !code.closest("a, pre")) code.replaceWith(entryLink(code.textContent, code.textContent));
    return content;
  }

  head(html) {
    const [hit] = this.hits;
    const content = this.linked(html);
    const title = $("h3", content);
    if (!title) return h("div.kb-refused", {}, content); // "No entry fits."
    if (hit) {
      title.replaceChildren(h("a", { href: `/?entry=${hit.entry}`, "data-entry": hit.entry }, ...title.childNodes));
      const bar = $(".kb-bar", confidence(hit.confidence));
      $("p strong", content)?.before(bar);
      bar.closest("p")?.classList.add("kb-sure");
    }
    for (const paragraph of $$("p", content)) {
      const text = paragraph.textContent;
      if (this.told.has(text)) paragraph.remove(); // The same entry's summary, in an answer that goes on.
      this.told.add(text);
    }
    const begin = [...content.children].at(-1);
    if (begin?.firstElementChild?.tagName === "STRONG" && !begin.classList.contains("kb-sure")) begin.classList.add("kb-begin");
    return h(`div.kb-head${this.goesOn ? ".kb-head--more" : ""}`, {}, content);
  }

  /** The entry's own step; the last line, which the citation ends, is why the model would take it now. */
  step(html) {
    const content = this.linked(html);
    const cite = $$("a.kb-cite", content).at(-1);
    if (cite && !cite.nextElementSibling) {
      const why = h("span.kb-why");
      const moved = [cite];
      for (let node = cite.previousSibling; node; node = node.previousSibling) {
        const at = node.nodeType === Node.TEXT_NODE ? node.data.lastIndexOf("\n") : -1;
        if (at >= 0) {
          moved.unshift(node.splitText(at));
          break;
        }
        moved.unshift(node);
      }
      cite.after(why);
      why.append(...moved);
    }
    return h("div.kb-step", {}, content);
  }

  run(html) {
    const content = fromServer(html);
    const command = $("code", content)?.textContent ?? "";
    let why = "";
    for (let node = $("code", content)?.nextSibling; node; node = node.nextSibling) why += node.textContent;
    return this.snippet({ command, about: why.trim() });
  }

  /** A script's command line with copy; where it is known, also what it does, its source and a download. */
  snippet({ command, about, does, entry: id, file, source }) {
    return h(
      "div.kb-snippet",
      { "data-command": command },
      h("div.kb-command", {}, h("code", {}, command), copyButton(() => command)),
      h("p.kb-snippet__about", {}, changes(does), about),
      source ? h("p.kb-snippet__more", {},
        h("button.kb-link", { type: "button", onclick: () => this.does.open({ id, file, language: this.element.lang }) }, word("see_source")),
        h("button.kb-link", { type: "button", onclick: () => download(source, file) }, word("download", { file }))) : null,
    );
  }

  takeDone(data) {
    this.answer = data.text;
    this.element.lang = data.language;
    this.working.remove();
    this.isAnswered = data.answered;
    for (const label of $$('[data-group="claims"] > .kb-label', this.blocks)) label.textContent = word("by_model", { model: data.model ?? word("a_model") });
    if (!data.answered) this.found.replaceChildren(); // The answer names the nearest itself.
    this.takeSnippets(data.snippets);
    this.takeSources(data.citations.filter((citation) => citation.url));
    this.linkParts(data);
    // Where every cause was tried, nothing is shown that could be "not it".
    if (data.answered && data.blocks.some(({ kind }) => ["claim", "step", "body"].includes(kind)))
      this.end.append(h("button.kb-button.kb-button--quiet.kb-not-it", { type: "button", onclick: () => this.does.notIt() }, word("not_it")));
  }

  takeSnippets(snippets) {
    for (const snippet of snippets) {
      const shown = $$(".kb-snippet", this.blocks).find((element) => element.dataset.command === snippet.command);
      if (shown) shown.replaceWith(this.snippet({ ...snippet, about: $(".kb-snippet__about", shown).textContent || snippet.about }));
      else if (!this.told.has(snippet.command)) this.group("run", word("run")).append(this.snippet(snippet));
      this.told.add(snippet.command);
    }
  }

  takeSources(cited) {
    const sources = cited.filter(({ url }) => !this.told.has(url));
    for (const { url } of sources) this.told.add(url);
    if (!sources.length) return;
    const item = ({ url, title }) => h("li", {}, webLink(url), h("span", {}, title));
    const more = sources.slice(SHOWN_SOURCES);
    this.blocks.append(
      h("section.kb-sources", {}, h("p.kb-label", {}, word("sources")),
        h("ul", {}, sources.slice(0, SHOWN_SOURCES).map(item)),
        more.length ? h("details", {}, h("summary", {}, word("sources_more", { count: more.length })), h("ul", {}, more.map(item))) : null),
    );
  }

  /** Headings and causes that are named in a composed answer lead to their part of the entry. */
  async linkParts({ hits, answered, language }) {
    if (!answered || !$(".kb-body", this.blocks)) return;
    const { parts } = await entry(hits[0].entry, language).catch(() => ({ parts: [] }));
    const byHeading = new Map(parts.map((part) => [part.heading, part.id]));
    for (const element of $$(".kb-body :is(h4, li)", this.blocks)) {
      const part = byHeading.get(element.textContent);
      if (part && !$("a", element)) element.replaceChildren(entryLink(hits[0].entry, element.textContent, part));
    }
  }

  /** It ended before it was whole. */
  cut(...shown) {
    this.working.remove();
    this.end.replaceChildren(...shown);
  }
}

const namesOf = (hits) => hits.map((hit) => hit.entry).join();

/** A word of warning where a script changes something. @param {string | undefined} does */
export const changes = (does) => (does === "fix" ? [h("span.kb-chip", {}, word("fix")), " "] : null);

/** A link that opens an entry beside the answer; the page listens for the click. */
export function entryLink(id, text, part) {
  return h("a", { href: `/?entry=${id}${part ? `#${part}` : ""}`, "data-entry": id, "data-part": part }, text);
}

/** Citations as they are written, `slug#part`, look like chips; an entry's own links to its parts stay words. */
export function markCitations(content) {
  for (const cite of $$("a.kb-cite", content)) if (cite.textContent.startsWith(cite.dataset.entry)) cite.classList.add("kb-cite--chip");
}

/** Save a script; it may need the token, so that a plain link would not do. */
export async function download(source, file) {
  const address = URL.createObjectURL(new Blob([await script(source)], { type: "text/x-python" }));
  h("a", { href: address, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
