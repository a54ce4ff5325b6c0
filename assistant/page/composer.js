// The one box: paste, drop a file, or ask. What it holds goes to the page as a text with a label.

import { h, icon, word } from "./dom.js";
import { IN_THE_BOX, lineCount, MAX_BYTES, textOf } from "./files.js";

const IS_MAC = /Mac|iPhone|iPad/.test(navigator.platform);
const LABEL = 90; // Characters of a question that name its turn.

/** The box. `send` gets `{text, label}`; `stop` is called by the button that takes the place of the other meanwhile. */
export class Composer {
  /** @param {HTMLElement} place @param {{send: (asked: {text: string, label: string}) => void, stop: () => void}} does */
  constructor(place, does) {
    this.does = does;
    this.attached = null; // {name, text}: a file, or a paste too long for the box.
    this.isMore = false; // Whether it asks further.
    this.isBusy = false;
    this.label = h("label", { for: "kb-input" });
    this.input = h("textarea.kb-box__input", { id: "kb-input", rows: "1", spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-describedby": "kb-keys" });
    this.chip = h("div.kb-attached", { hidden: true });
    this.button = h("button.kb-button.kb-ask-button", { type: "submit" });
    this.file = h("input", { type: "file", hidden: true, tabindex: "-1", accept: ".log,.txt,.out,.err,text/*" });
    this.opener = h("button.kb-button.kb-button--quiet.kb-open", { type: "button", onclick: () => this.file.click() });
    this.keys = h("span.kb-keys", { id: "kb-keys" });
    this.note = h("p.kb-problem", { role: "alert" });
    this.model = h("span.kb-model");
    this.form = h(
      "form.kb-box__form",
      { novalidate: true },
      this.label,
      this.chip,
      this.input,
      h("div.kb-box__bar", {}, this.button, this.opener, this.file, this.keys, this.model),
      this.note,
    );
    place.append(this.form);
    this.listen();
    this.words();
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.isBusy) this.does.stop();
      else this.send();
    });
    this.input.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses characters; some browsers tell it by the key's number alone.
      if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
      const isOneLine = !event.shiftKey && !event.altKey && this.input.value.trim() && !this.input.value.includes("\n");
      if (!event.ctrlKey && !event.metaKey && !isOneLine) return;
      event.preventDefault();
      if (!this.isBusy) this.send();
    });
    this.input.addEventListener("input", () => this.problem(""));
    this.input.addEventListener("paste", (event) => {
      const text = event.clipboardData.getData("text");
      if (text.length <= IN_THE_BOX) return;
      event.preventDefault();
      this.attach({ name: word("pasted"), text });
    });
    this.file.addEventListener("change", async () => {
      await this.open(this.file.files[0]);
      this.file.value = "";
    });
    // Anywhere on the page: a browser would open what misses the box, and the report would be gone.
    for (const name of ["dragover", "dragleave", "drop"])
      addEventListener(name, (event) => {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        this.form.classList.toggle("kb-drops", name === "dragover");
        if (name === "drop") this.open(event.dataTransfer.files[0]);
      });
  }

  /** Show its words in the page's language. */
  words() {
    this.label.textContent = word(this.isMore ? "label_more" : "label");
    this.input.placeholder = word(this.attached ? "placeholder_file" : this.isMore ? "placeholder_more" : "placeholder");
    this.button.replaceChildren(...(this.isBusy ? [icon("stop"), word("stop")] : [word(this.isMore ? "ask_more" : "ask")]));
    this.button.classList.toggle("kb-button--stop", this.isBusy);
    this.opener.replaceChildren(icon("file"), h("span", {}, word("open_file")));
    this.opener.setAttribute("aria-label", word("open_file"));
    this.form.dataset.drop = word("drop");
    this.keys.textContent = word(IS_MAC ? "keys_mac" : "keys");
    if (this.attached) this.showAttached();
  }

  /** @param {{isMore?: boolean, isBusy?: boolean}} state */
  set(state) {
    Object.assign(this, state);
    this.words();
  }

  problem(text) {
    this.note.textContent = text;
  }

  /** Put a text into the box without sending it. */
  fill(text) {
    this.clear();
    if (text.length > IN_THE_BOX) this.attach({ name: word("pasted"), text });
    else this.input.value = text;
    this.input.focus({ preventScroll: true });
  }

  clear() {
    this.input.value = "";
    this.attach(null);
    this.problem("");
  }

  /** @param {File | undefined} file */
  async open(file) {
    if (!file) return;
    this.problem("");
    if (file.size > MAX_BYTES) return this.problem(word("too_large", { name: file.name }));
    const text = await textOf(file);
    if (text === null) return this.problem(word("no_text", { name: file.name }));
    this.attach({ name: file.name, text });
    this.input.focus({ preventScroll: true });
  }

  attach(attached) {
    this.attached = attached;
    this.chip.hidden = !attached;
    this.words();
  }

  showAttached() {
    const { name, text } = this.attached;
    const remove = h("button.kb-attached__remove", { type: "button", "aria-label": `${word("remove")}: ${name}`, onclick: () => this.attach(null) }, icon("close"));
    this.chip.replaceChildren(icon("file"), h("span.kb-attached__name", {}, name), h("span.kb-muted", {}, countOf(text)), remove);
  }

  send() {
    const typed = this.input.value;
    if (!typed.trim() && !this.attached?.text.trim()) {
      this.problem(word("empty"));
      this.input.focus();
      return;
    }
    // What is said about a file stands after it, so that the numbers of its lines stay.
    const text = this.attached ? [this.attached.text, typed].filter((part) => part.trim()).join("\n\n") : typed;
    const label = this.attached ? `${this.attached.name} · ${countOf(this.attached.text)}` : labelOf(typed);
    this.clear();
    this.does.send({ text, label });
  }
}

const countOf = (text) => {
  const count = lineCount(text);
  return count === 1 ? word("line_count") : word("lines_count", { count: count.toLocaleString() });
};

/** What a turn is called: a question by its words, a paste by its size. */
export function labelOf(text) {
  const trimmed = text.trim();
  if (!trimmed.includes("\n") && trimmed.length <= 3 * LABEL) return trimmed;
  return `${word("pasted")} · ${countOf(text)}`;
}

