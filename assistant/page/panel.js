// The entry beside the answer: a column on wide screens, a sheet on phones; it has an address, and the back button closes it.

import { entry, Refused, script } from "./ask.js";
import { changes, download, markCitations } from "./answer.js";
import { $, $$, copyButton, fromServer, h, icon, reader, webLink, word } from "./dom.js";
import { tokenForm } from "./token.js";

const WIDE = matchMedia("(min-width: 62em)");

/** @typedef {{id: string, part?: string, file?: string, language?: string}} Wanted an entry, where in it, and in which language */

/** @type {Wanted | null} */
let shown = null;
let opener = null; // What had the focus before.
let panel;
let isClosing = false;

/** Let links to entries open the panel, and the address too. @param {HTMLDialogElement} element */
export function mountPanel(element) {
  panel = element;
  panel.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  panel.addEventListener("close", () => shown && !panel.open && close()); // A browser may close a sheet unasked.
  panel.addEventListener("click", (event) => event.target === panel && close()); // The ground behind a sheet.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !shown || event.defaultPrevented || event.isComposing) return;
    event.preventDefault();
    close();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-entry]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    open({ id: link.dataset.entry, part: link.dataset.part, language: link.closest(".kb-turn, .kb-panel")?.lang });
  });
  addEventListener("popstate", fromAddress);
  WIDE.addEventListener("change", () => {
    if (!panel.open) return;
    panel.close();
    display();
  });
  fromAddress();
}

/** Open an entry, at a part or a script of it. @param {Wanted} wanted */
export function open(wanted) {
  const { id, part } = wanted;
  const address = `/?entry=${id}${part ? `#${part}` : ""}`;
  if (shown) history.replaceState(history.state, "", address);
  else history.pushState({ opened: true }, "", address);
  show(wanted);
}

/** Show it again in the language that the page has now. */
export const reload = () => shown && show({ ...shown, language: reader.language });

function fromAddress() {
  const id = new URLSearchParams(location.search).get("entry");
  const part = partOf(location.hash.slice(1));
  if (!id) hide();
  else if (shown?.id !== id || shown?.part !== part) show({ id, part });
}

/** A part's id as an address has it; what is no address's spelling, `#%`, names no part. */
function partOf(hash) {
  try {
    return decodeURIComponent(hash);
  } catch {
    return "";
  }
}

function close() {
  if (isClosing) return; // A second step back would leave the page.
  isClosing = true;
  if (history.state?.opened) history.back(); // Its popstate hides the panel.
  else {
    history.replaceState(null, "", "/");
    hide();
  }
}

function hide() {
  isClosing = false;
  if (!shown) return;
  shown = null;
  panel.close();
  delete document.body.dataset.panel;
  if (opener?.isConnected) opener.focus({ preventScroll: true });
  else $("#kb-input")?.focus({ preventScroll: true });
}

/** A column beside the answer leaves the answer usable; a sheet over it does not. */
function display() {
  document.body.dataset.panel = "open";
  if (panel.open) return;
  if (WIDE.matches) panel.show();
  else panel.showModal();
}

async function show(wanted) {
  isClosing = false;
  if (!panel.open) opener = document.activeElement;
  const language = wanted.language || reader.language;
  const isSame = shown?.id === wanted.id && panel.lang === language && $(".kb-panel__body > section", panel);
  shown = wanted;
  if (isSame) {
    display();
    goTo(wanted);
    return;
  }
  panel.lang = language;
  panel.setAttribute("aria-label", word("entry"));
  fill(wanted.id, h("p.kb-muted", {}, `${word("loading")} …`));
  display();
  try {
    const found = await entry(wanted.id, language);
    if (shown !== wanted) return;
    panel.setAttribute("aria-label", found.title);
    fill(wanted.id, ...content(found));
    goTo(wanted);
  } catch (error) {
    if (shown !== wanted) return;
    if (error.status === 401) return fill(wanted.id, tokenForm(() => show(wanted)));
    const said = error instanceof Refused && error.status === 404 ? word("gone") : error.message || word("away");
    fill(wanted.id, h("p.kb-notice", {}, said));
  }
}

function fill(id, ...children) {
  const button = h("button.kb-panel__close", { type: "button", onclick: close, "aria-label": word("close"), title: `${word("close")} (Esc)` }, icon("close"));
  const body = h("div.kb-panel__body", { tabindex: "0" }, children);
  panel.replaceChildren(h("div.kb-panel__bar", {}, h("span.kb-panel__id", {}, id), button), body);
  if (document.activeElement === document.body || !panel.contains(document.activeElement)) button.focus({ preventScroll: true });
}

function content(found) {
  return [
    h("h2.kb-panel__title", {}, found.title),
    h("p.kb-lead", {}, found.summary),
    h("nav.kb-contents-of", { "aria-label": word("all_parts") }, h("ul", {},
      found.parts.filter((part) => part.level === 2).map((part) => h("li", {}, link(found.entry, part))))),
    ...found.parts.map((part) => section(part)),
    found.snippets.length
      ? h("section", { "data-part": "scripts" }, h("h3", {}, word("scripts")), found.snippets.map((snippet) => scriptOf(snippet, found.entry)))
      : null,
    found.references.length
      ? h("section.kb-sources", {}, h("h3", {}, word("sources")), h("ul", {}, found.references.map(({ url, about }) =>
          h("li", {}, webLink(url), h("span", {}, about)))))
      : null,
  ].filter(Boolean);
}

const link = (id, part) => h("a", { href: `/?entry=${id}#${part.id}`, "data-entry": id, "data-part": part.id }, part.heading);

function section(part) {
  const body = fromServer(part.html);
  markCitations(body);
  for (const link of $$('a[href^="/v1/entries/"]', body)) {
    const [, , , id, file] = link.getAttribute("href").split("/");
    link.addEventListener("click", (event) => {
      event.preventDefault(); // Read here: without the page's token the address would say no.
      open({ id, file, language: panel.lang });
    });
  }
  return h("section", { "data-part": part.id }, h(part.level === 2 ? "h3" : "h4", { tabindex: "-1" }, part.heading), body);
}

function scriptOf(snippet, id) {
  const source = h("div.kb-source");
  const details = h("details.kb-script", { "data-file": snippet.file }, h("summary", {}, h("code", {}, snippet.file)), source);
  details.addEventListener("toggle", async () => {
    if (!details.open || source.firstChild) return;
    source.append(h("p.kb-muted", {}, `${word("loading")} …`));
    try {
      const text = await script(snippet.source);
      const code = h("pre", {}, h("code", { tabindex: "0" }, text));
      source.replaceChildren(h("div.kb-code", {}, code, copyButton(() => text, word("copy_code"))));
    } catch (error) {
      source.replaceChildren(h("p.kb-notice", {}, error.message || word("away")));
    }
  });
  return h(
    "div.kb-snippet",
    {},
    h("div.kb-command", {}, h("code", {}, snippet.command), copyButton(() => snippet.command)),
    h("p.kb-snippet__about", {}, changes(snippet.does), snippet.about),
    details,
    h("p.kb-snippet__more", {}, h("button.kb-link", { type: "button", onclick: () => download(snippet.source, snippet.file) }, word("download", { file: snippet.file }))),
  );
}

/** Scroll to the part or the script that was asked for, and mark it. */
function goTo({ part, file }) {
  const body = $(".kb-panel__body", panel);
  for (const marked of $$(".kb-target", body)) marked.classList.remove("kb-target");
  if (!part && !file) {
    body.scrollTop = 0;
    return;
  }
  const script = file ? $(`[data-file="${CSS.escape(file)}"]`, body) : null;
  if (script) script.open = true;
  const target = script?.closest(".kb-snippet") ?? $(`section[data-part="${CSS.escape(part ?? "")}"]`, body);
  if (!target) return;
  body.scrollTop += target.getBoundingClientRect().top - body.getBoundingClientRect().top - 8;
  target.classList.add("kb-target");
}
