// Small tools of the page: elements, words in the reader's language, buttons that copy.

import { WORDS } from "./words.js";

const KEPT_LANGUAGE = "kbask.language";

/** The language of the page, and whether the reader chose it. */
export const reader = { language: startLanguage(), hasChosen: stored(localStorage_(), KEPT_LANGUAGE) !== null };

/** @returns {Storage | null} where nothing may be stored, null */
function localStorage_() {
  try {
    return globalThis.localStorage;
  } catch {
    return null;
  }
}

/** @param {Storage | null} storage @param {string} key @returns {string | null} */
function stored(storage, key) {
  const value = storage?.getItem(key) ?? null;
  return value in WORDS ? value : null;
}

/** @returns {"en" | "zh"} */
function startLanguage() {
  return stored(localStorage_(), KEPT_LANGUAGE) ?? (/^zh\b/i.test(navigator.language) ? "zh" : "en");
}

/** Show the page in a language; `chosen` by the reader, it is remembered and sent with each question. */
export function setLanguage(language, chosen) {
  reader.language = language;
  if (!chosen) return;
  reader.hasChosen = true;
  localStorage_()?.setItem(KEPT_LANGUAGE, language);
}

/** The words of the page in its language; `word("sure", {percent: 99})`. @param {string} key */
export function word(key, values = {}) {
  return WORDS[reader.language][key].replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The words of a group, as of the colour schemes. @param {string} key @returns {Record<string, string>} */
export const wordsOf = (key) => WORDS[reader.language][key];

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** An element; text is only ever set as text. `h("button.kb-button", {type: "button", onclick: go}, "Go")` */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const ICONS = {
  copy: "M9 9h10v11H9zM15 9V5H5v10h4",
  done: "m5 12.5 4.5 4.5L19 7.5",
  close: "m6 6 12 12M18 6 6 18",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  light: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  stop: "M7 7h10v10H7z",
};

/** A small drawing, without a name of its own. @param {keyof ICONS} name */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  drawing.setAttribute("class", "kb-icon");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  drawing.append(path);
  return drawing;
}

/** A button that copies a text. @param {() => string} text */
export function copyButton(text, name = word("copy")) {
  const label = h("span.kb-unseen", {}, name);
  const button = h("button.kb-copy", { type: "button", title: name }, icon("copy"), label);
  button.addEventListener("click", async () => {
    await copy(text());
    button.replaceChildren(icon("done"), label);
    label.textContent = word("copied");
    say(word("copied"));
    setTimeout(() => {
      button.replaceChildren(icon("copy"), label);
      label.textContent = name;
    }, 1600);
  });
  return button;
}

/** Over plain http from another machine there is no clipboard interface; a selection can be copied there too. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const focused = document.activeElement;
  const field = h("textarea.kb-unseen", { "aria-hidden": "true", tabindex: "-1" });
  field.value = text;
  (focused?.closest("dialog") ?? document.body).append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  focused?.focus();
}

/** Tell those who listen to the page. */
export function say(text) {
  $("#kb-status").textContent = text;
}

/** The share of a bar goes by the element's own property: the page allows no style attribute in its source. */
export function confidence(share) {
  const percent = Math.min(Math.max(Math.round(share * 100), 1), 99); // Nothing here is certain.
  const bar = h("span.kb-bar", { "aria-hidden": "true" });
  bar.style.setProperty("--share", String(share));
  return h("span.kb-confidence", {}, bar, word("sure", { percent }));
}

/** A link to the web by its address, of which an overlay may hold any: what is no web address stays text. */
export function webLink(url) {
  const text = url.replace(/^https?:\/\/(?:www\.)?/i, "");
  return text === url ? h("span", {}, url) : h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text);
}

/** What the server made of Markdown, as elements: the one place where HTML is read, and it is the server's alone. */
export function fromServer(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const block of $$("pre", template.content)) {
    const box = h("div.kb-code");
    block.replaceWith(box);
    box.append(block, copyButton(() => block.textContent.replace(/\n$/, ""), word("copy_code")));
    block.firstElementChild.tabIndex = 0; // Long lines scroll inside the box, by keys too.
  }
  for (const table of $$("table", template.content)) {
    const box = h("div.kb-scrolls", { tabindex: "0", role: "region", "aria-label": table.querySelector("th")?.textContent ?? "" });
    table.replaceWith(box);
    box.append(table);
  }
  for (const link of $$('a[href^="http"]', template.content)) link.target = "_blank";
  return template.content;
}
