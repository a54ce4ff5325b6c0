// What the pages do: the paste box, the search, the language switch. The engine runs in a worker; what is pasted stays here.
(() => {
  "use strict";

  const page = JSON.parse(document.getElementById("kbask-page").textContent);
  const words = page.words;
  const home = new URL(".", document.currentScript.src);
  const SHOWN = 3; // Entries below the first.
  const WORTH_SHOWING = 0.1; // Of the confidence in an entry beside the first,
  const PERHAPS = 0.25; // In one that is near enough for its summary, though not for an answer,
  const WORTH_NAMING = 0.1; // and in one that is only near.
  const PATIENCE = 6000; // Milliseconds; the engine's own budget is a quarter of it.
  const IN_THE_BOX = 200_000; // Characters: a box with more of them makes the whole page slow.
  const LOOKED_AT = 4_000_000; // Of a longer text, from its beginning and from its end.
  const KEPT = "kbask.paste"; // Kept in this tab only, so that it is there again after a look at an entry.

  // ---- small tools

  const $ = (selector, root = document) => root.querySelector(selector);
  const filled = (template, values) => template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  const entryAddress = (id, part) => `${page.base}/entries/${id}/${part ? `#${part}` : ""}`;

  /** An element; text is only ever set as text. */
  function h(tag, properties = {}, ...children) {
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

  function waiting(action, milliseconds) {
    let timer = 0;
    return (...given) => {
      clearTimeout(timer);
      timer = setTimeout(() => action(...given), milliseconds);
    };
  }

  // ---- the engine, in a thread of its own

  const engine = {
    worker: null,
    asked: new Map(),
    waiting: new Map(),
    busy: false,
    count: 0,

    /** Start the worker and load its data, once. */
    load() {
      this.loading ??= this.start().then(() => this.read("load", `${page.root}/data/engine.json`));
      return this.loading;
    },

    async start() {
      try {
        this.worker = new Worker(new URL("engine/worker.js", home), { type: "module" });
      } catch (error) {
        this.stop(error);
        throw error;
      }
      this.worker.onmessage = ({ data: { id, result, error } }) => {
        const { resolve, reject, timer } = this.asked.get(id) ?? {};
        this.asked.delete(id);
        clearTimeout(timer);
        if (error) reject?.(new Error(error));
        else resolve?.(result);
      };
      this.worker.onerror = (event) => this.stop(new Error(event.message || words.cannot_start));
    },

    /** Load what the search needs besides, once. */
    loadSearch() {
      this.searching ??= this.load().then(() => this.read("loadSearch", `${page.base}/data/search.json`));
      return this.searching;
    },

    read(task, path) {
      return this.post(task, { address: new URL(path, location.href).href }, null).catch((error) => {
        this.stop(error);
        throw error;
      });
    },

    /** One question is with the worker and one of each kind waits; a newer one takes the place of that, which gets null. */
    ask(task, given) {
      return new Promise((resolve, reject) => {
        this.waiting.get(task)?.resolve(null);
        this.waiting.set(task, { given, resolve, reject });
        this.next();
      });
    },

    async next() {
      const [task] = this.waiting.keys();
      if (this.busy || !task) return;
      const { given, resolve, reject } = this.waiting.get(task);
      this.waiting.delete(task);
      this.busy = true;
      try {
        await (task === "search" ? this.loadSearch() : this.load());
        resolve(await this.post(task, given, PATIENCE));
      } catch (error) {
        reject(error);
      }
      this.busy = false;
      this.next();
    },

    post(task, given, patience) {
      return new Promise((resolve, reject) => {
        const id = ++this.count;
        const timer = patience && setTimeout(() => this.stop(new Error(words.too_slow)), patience);
        this.asked.set(id, { resolve, reject, timer });
        this.worker.postMessage({ id, task, ...given });
      });
    },

    /** End the worker, whatever it is at; the next question starts another. */
    stop(error) {
      this.worker?.terminate();
      this.worker = this.loading = this.searching = null;
      for (const { reject, timer } of this.asked.values()) {
        clearTimeout(timer);
        reject(error);
      }
      this.asked.clear();
    },
  };

  const cannotRun = () => {
    if (location.protocol === "file:") return words.from_file;
    return typeof Worker === "function" ? null : words.no_worker;
  };

  // ---- the paste box

  function mountBox(place) {
    const input = h("textarea.kb-box__input", {
      id: "kb-input", spellcheck: "false", autocomplete: "off", autocapitalize: "off", placeholder: words.placeholder,
      "aria-describedby": "kb-stays",
    });
    const status = h("p.kb-status", { role: "status" });
    const result = h("div.kb-result");
    const file = h("input", { type: "file", id: "kb-file", tabindex: "-1", "aria-label": words.open_file, hidden: true });
    const clear = h("button.kb-button.kb-button--quiet", { type: "button", hidden: true }, words.clear);
    const reason = cannotRun();
    const form = h(
      "form.kb-box__form",
      { novalidate: true },
      h("label", { for: "kb-input" }, words.label),
      input,
      h(
        "div.kb-box__bar",
        {},
        h("button.kb-button", { type: "submit", disabled: reason !== null }, words.diagnose),
        h("button.kb-button.kb-button--quiet", { type: "button", disabled: reason !== null, onclick: () => file.click() }, words.open_file),
        file,
        clear,
        h("span", { id: "kb-stays" }, words.stays),
      ),
    );
    place.replaceChildren(h("div.kb-box", {}, form, status, result));
    if (reason) {
      input.disabled = true;
      status.textContent = reason;
      return;
    }

    let whole = null; // A text too long for the box, which then shows its beginning and end,
    let isCut = false; // and whether its middle was left out.
    let latest = 0;

    async function diagnose() {
      const text = whole ?? input.value;
      clear.hidden = !text;
      keep(text);
      const turn = ++latest;
      const working = setTimeout(() => turn === latest && say(engine.worker ? words.working : words.loading), 300);
      try {
        if (isShort(text)) {
          result.replaceChildren();
          say(text.trim() ? words.too_short : "");
          return;
        }
        const found = await engine.ask("diagnose", { text });
        if (turn !== latest || !found) return; // Something newer was asked meanwhile.
        result.replaceChildren(...answer(found, text));
        say(summary(found, isCut), found.answered ? found.hits[0].pages[page.language].title : words.none);
      } catch (error) {
        if (turn !== latest) return;
        result.replaceChildren();
        say(filled(words.failed, { reason: error.message }));
      } finally {
        clearTimeout(working);
      }
    }

    /** Say how it went; the heading of the answer only to those who listen to the page. */
    function say(text, heading = "") {
      status.replaceChildren(...(heading ? [h("span.kb-unseen", {}, `${heading}. `)] : []), text);
    }

    function show(given, isPart = false) {
      const text = ends(given);
      isCut = isPart || text !== given;
      whole = text.length > IN_THE_BOX ? text : null;
      input.value = whole ? `${text.slice(0, 2000)}\n[...]\n${text.slice(-2000)}` : text;
      return diagnose();
    }

    async function read(chosen) {
      if (!chosen) return;
      const turn = ++latest;
      say(words.reading);
      const text = await textOf(chosen);
      if (turn !== latest) return;
      if (text === null) {
        result.replaceChildren();
        say(words.no_text);
      } else await show(text, chosen.size > 2 * LOOKED_AT);
    }

    const soon = waiting(diagnose, 350);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!input.value.trim()) {
        input.focus();
        say(words.empty);
      } else diagnose().then(() => result.getBoundingClientRect().top > innerHeight / 2 && status.scrollIntoView());
    });
    input.addEventListener("focus", () => engine.load().catch(() => {}), { once: true });
    input.addEventListener("input", () => {
      whole = null;
      isCut = false;
      soon();
    });
    input.addEventListener("paste", (event) => {
      const text = event.clipboardData.getData("text");
      if (text.length <= IN_THE_BOX) return;
      event.preventDefault();
      show(text);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    file.addEventListener("change", () => read(file.files[0]).then(() => (file.value = "")));
    form.addEventListener("dragover", (event) => event.preventDefault());
    form.addEventListener("drop", (event) => {
      const [dropped] = event.dataTransfer.files;
      if (!dropped) return;
      event.preventDefault();
      read(dropped);
    });
    clear.addEventListener("click", () => {
      show("");
      input.focus();
    });
    if (kept()) show(kept());
  }

  /** Whether a text is too short to say anything: two letters, or one Chinese character. */
  const isShort = (text) => text.trim().length < (/[\u3400-\u9fff]/.test(text) ? 2 : 3);

  /** A text without its middle, where it is too long to be looked at whole. */
  const ends = (text) => (text.length > 2 * LOOKED_AT ? `${text.slice(0, LOOKED_AT)}\n${text.slice(-LOOKED_AT)}` : text);

  function keep(text) {
    try {
      sessionStorage.removeItem(KEPT);
      if (text) sessionStorage.setItem(KEPT, text);
    } catch {
      // Too large, or not allowed: then it is not there again after a look at an entry.
    }
  }

  function kept() {
    try {
      return sessionStorage.getItem(KEPT) ?? "";
    } catch {
      return "";
    }
  }

  /** A file's text, of a long one its beginning and end; null where it is none. */
  async function textOf(file) {
    const parts = file.size > 2 * LOOKED_AT ? [file.slice(0, LOOKED_AT), file.slice(-LOOKED_AT)] : [file];
    const texts = [];
    for (const part of parts) texts.push(decoded(new Uint8Array(await part.arrayBuffer())));
    return texts.includes(null) ? null : texts.join("\n");
  }

  /** Bytes as text: UTF-16 by its mark, UTF-8, or GBK where most of that is broken; null where it is no text. */
  function decoded(bytes) {
    if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
      return new TextDecoder(bytes[0] === 0xff ? "utf-16le" : "utf-16be").decode(bytes);
    const start = bytes.subarray(0, 4096);
    const control = start.filter((byte) => byte < 32 && ![0, 8, 9, 10, 11, 12, 13, 27].includes(byte)).length;
    if (20 * control > start.length) return null;
    const text = new TextDecoder().decode(bytes);
    const count = (pattern, where) => where.match(pattern)?.length ?? 0;
    if (2 * count(/\ufffd/g, text) <= count(/[^\x00-\x7f]/g, text)) return text;
    const other = new TextDecoder("gb18030").decode(bytes);
    const chinese = count(/[\u3400-\u9fff]/g, other);
    return chinese > 2 && chinese > 4 * count(/\ufffd/g, other) ? other : text;
  }

  const summary = ({ query, milliseconds }, isCut) => {
    const parts = { lines: query.length.toLocaleString(page.language), milliseconds: Math.max(1, Math.round(milliseconds)) };
    return [filled(words.looked, parts), isCut ? words.cut : "", query.complete ? "" : words.time_was_up].filter(Boolean).join(" ");
  };

  // ---- the answer

  function answer(found, text) {
    const { hits, answered, query } = found;
    const parts = [h("h2.kb-unseen", {}, words.answer), understood(query)];
    if (answered) {
      const others = hits.slice(1, 1 + SHOWN).filter((hit) => hit.confidence >= WORTH_SHOWING);
      parts.push(h("ol.kb-hits", {}, first(found), ...others.map((hit) => other(hit))));
    } else parts.push(refused(found));
    if (page.assistant) parts.push(assistantButton(text));
    return parts.filter(Boolean);
  }

  /** Numbers in a row, of many the first ones and how many there are. */
  const listed = (all) => (all.length > 8 ? `${all.slice(0, 8).join(", ")}, ... (${all.length})` : all.join(", "));

  function understood(query) {
    const facts = {
      exceptions: query.exceptions.slice(0, 4).map((name) => name.slice(0, 80)),
      ranks: query.ranks.length > 1 ? [listed(query.ranks)] : [],
      versions: Object.entries(query.versions).slice(0, 6).map((pair) => pair.join(" ")),
    };
    const rows = Object.entries(facts).filter(([, values]) => values.length);
    if (!rows.length) return null;
    return h(
      "dl.kb-understood",
      { "aria-label": words.understood },
      rows.map(([name, values]) => h("div", {}, h("dt", {}, words[name]), values.map((value) => h("dd", {}, value)))),
    );
  }

  function first(found) {
    const { hits, query } = found;
    const [hit] = hits;
    const own = hit.pages[page.language];
    const cause = hit.matched.find((match) => match.cause)?.cause;
    const named = own.causes.filter(([id]) => id === cause);
    const causes = [...named, ...own.causes.filter(([id]) => id !== cause)].slice(0, 4);
    return h(
      "li.kb-hit.kb-hit--first",
      {},
      head(hit, cause),
      h("p.kb-hit__summary", {}, own.summary),
      notes(found).map((note) => h("p.kb-hit__why", {}, note)),
      lines(hit.matched) ?? h("p.kb-hit__why", {}, query.isLog ? words.by_words_of_log : words.by_words),
      causes.length
        ? [
            h("p.kb-hit__why", {}, named.length ? words.cause_named : words.causes),
            h("ol.kb-hit__causes", {}, causes.map(([id, heading]) => h("li", {}, h("a", { href: entryAddress(hit.id, id) }, heading)))),
          ]
        : [],
      h("p.kb-hit__more", {}, h("a.kb-button", { href: entryAddress(hit.id, named.length ? cause : own.causes.length ? "causes" : "") }, words.read)),
    );
  }

  const other = (hit) => h("li.kb-hit", {}, head(hit), h("p.kb-hit__summary", {}, hit.pages[page.language].summary));

  function head(hit, cause = "") {
    const percent = Math.min(Math.max(Math.round(hit.confidence * 100), 1), 99); // Nothing here is certain.
    const bar = h("span", { "aria-hidden": "true", style: `--share: ${hit.confidence.toFixed(3)}` });
    return h(
      "div.kb-hit__head",
      {},
      h("h3", {}, h("a", { href: entryAddress(hit.id, cause) }, hit.pages[page.language].title)),
      h("span.kb-confidence", {}, bar, filled(words.sure, { percent })),
    );
  }

  /** What came before, what follows, and what it cannot be told apart from. */
  function notes({ hits, query, apart }) {
    const [hit] = hits;
    const found = [];
    const linked = (template, problems) => {
      const [before, after] = template.split("{ids}");
      const links = problems.map(({ id, about }) => (about ? about : h("a", { href: entryAddress(id) }, id)));
      return [before, ...links.flatMap((link, place) => [place ? words.comma : "", link]), after];
    };
    const says = (match) => query.root && (match.line.text.includes(query.root.text) || query.root.text.includes(match.line.text));
    if (hit.yieldedTo.length) found.push(linked(words.can_follow, hit.yieldedTo));
    else if (hit.canFollow && query.root && !hit.matched.some(says)) {
      const [before, after] = filled(words.look_first, { number: query.root.number }).split("{line}");
      found.push([before, h("code", {}, query.root.text.trim().slice(0, 160)), after]);
    }
    const following = hits.slice(1).filter((one) => one.yieldedTo.some(({ id }) => id === hit.id));
    if (following.length) found.push(linked(words.what_follows, following));
    if (apart) found.push([filled(words.undecided, { look: apart.look[page.language] })]);
    return found;
  }

  /** The lines that gave it away, marked; null where there are none, or only the user's own words. */
  function lines(matched) {
    const shown = matched.filter((match) => !match.line.text.startsWith("said: "));
    const strong = shown.filter((match) => !match.weak);
    const rows = new Map(); // By line, the spans that were found in it.
    for (const { line, start, end } of strong.length ? strong : shown) {
      if (!rows.has(line.text)) rows.set(line.text, { line, spans: [] });
      rows.get(line.text).spans.push([start, end]);
    }
    if (!rows.size) return null;
    // What several lines say together stands in no line.
    const number = ({ text, number }) => (/^(?:metrics|text): /.test(text) ? words.together : String(number));
    return h(
      "ol.kb-lines",
      { "aria-label": words.lines },
      [...rows.values()].slice(0, 6).map(({ line, spans }) => h("li", {}, h("span", {}, number(line)), h("span", {}, spanned(line.text, spans)))),
    );
  }

  /** A line with its spans marked, without what stands far from them. */
  function spanned(text, spans) {
    const parts = [];
    let at = Math.max(0, Math.min(...spans.map(([start]) => start)) - 120);
    if (at) parts.push("…");
    for (const [start, end] of spans.sort(([one], [other]) => one - other)) {
      if (end <= at) continue; // It lies within the one before.
      if (start > at) parts.push(text.slice(at, start));
      parts.push(h("mark", {}, text.slice(Math.max(start, at), end)));
      at = end;
    }
    return [...parts, text.slice(at, at + 160), at + 160 < text.length ? "…" : ""];
  }

  function refused({ hits, behind, query }) {
    const elsewhere = behind?.[0].startsWith("elsewhere-");
    const known = behind?.[1] ? filled(words.known, { about: behind[1] }) : elsewhere ? words.elsewhere : words.none_more;
    // To words that no entry has, all are equally far.
    const near = hits.slice(0, 3).filter((hit) => !elsewhere && hit.hasWords && hit.confidence >= WORTH_NAMING);
    return h(
      "div.kb-refused",
      {},
      h("p", {}, h("strong", {}, words.none), " ", known),
      near.length
        ? [
            h("p", {}, words.nearest),
            h("ul", {}, near.map(({ id, pages, confidence }) => {
              const own = pages[page.language];
              const summary = confidence >= PERHAPS ? h("p.kb-hit__summary", {}, own.summary) : null;
              return h("li", {}, h("a", { href: entryAddress(id) }, own.title), summary);
            })),
          ]
        : null,
      query.isLog || behind ? null : h("p", {}, words.paste_more),
    );
  }

  // ---- the assistant, where this site has one: asked first, and handed over in the browser, never by an address

  function assistantButton(text) {
    const dialog = h(
      "dialog.kb-ask",
      { "aria-label": words.assistant },
      h("p", {}, filled(words.assistant_asks, { host: new URL(page.assistant, location.href).host })),
      h(
        "div.kb-box__bar",
        {},
        h("button.kb-button", { type: "button", onclick: () => (dialog.close(), hand(text)) }, words.assistant_yes),
        h("button.kb-button.kb-button--quiet", { type: "button", onclick: () => dialog.close() }, words.assistant_no),
      ),
    );
    const button = h("button.kb-button.kb-button--quiet", { type: "button", onclick: () => dialog.showModal() }, words.assistant);
    return h("div.kb-assistant", {}, button, dialog);
  }

  function hand(text) {
    const address = new URL(page.assistant, location.href);
    const opened = window.open(address, "_blank");
    const done = new AbortController();
    setTimeout(() => done.abort(), 60_000);
    const listen = (event) => {
      if (!opened || event.source !== opened || event.origin !== address.origin || event.data !== "kbask-ready") return;
      done.abort();
      opened.postMessage({ kind: "kbask-paste", text, language: page.language }, address.origin);
    };
    window.addEventListener("message", listen, { signal: done.signal });
  }

  // ---- search

  function mountSearch(buttons) {
    const field = h("input.kb-search__field", {
      type: "text", role: "searchbox", "aria-label": words.search_label, placeholder: words.search_label, autocomplete: "off", spellcheck: "false",
      enterkeyhint: "go", maxlength: "400",
    });
    const status = h("span", { role: "status" });
    const results = h("ul.kb-search__results", { "aria-label": words.search_results });
    const close = h("button.kb-button.kb-button--quiet", { type: "button", onclick: () => dialog.close() }, words.close);
    const dialog = h(
      "dialog.kb-search",
      { "aria-label": words.search },
      h("div.kb-search__bar", {}, field, close),
      results,
      h("p.kb-search__hint", {}, status, h("span.kb-search__keys", {}, words.search_keys)),
    );
    document.body.append(dialog);
    const reason = cannotRun();

    function open() {
      if (dialog.open) return;
      dialog.showModal();
      field.select();
      if (reason) status.textContent = reason;
      else engine.loadSearch().catch((error) => (status.textContent = filled(words.failed, { reason: error.message })));
    }

    let latest = 0;
    async function find() {
      const turn = ++latest;
      const text = field.value.trim();
      if (!text || reason) {
        results.replaceChildren();
        status.textContent = reason ?? "";
        return;
      }
      try {
        const found = await engine.ask("search", { text: field.value });
        if (turn !== latest || !found) return;
        results.replaceChildren(...found.map((result) => row(result, text)));
        status.textContent = found.length ? filled(words.search_found, { count: found.length }) : words.search_none;
      } catch (error) {
        if (turn === latest) status.textContent = filled(words.failed, { reason: error.message });
      }
    }

    const links = () => [...results.querySelectorAll("a")];
    field.addEventListener("input", waiting(find, 60));
    dialog.addEventListener("keydown", (event) => {
      if (event.isComposing) return; // Enter and the arrows choose Chinese characters then.
      const all = links();
      const place = all.indexOf(document.activeElement);
      if (event.key === "ArrowDown" && all.length) (all[place + 1] ?? all[0]).focus();
      else if (event.key === "ArrowUp" && place >= 0) (all[place - 1] ?? field).focus();
      else if (event.key === "Enter" && document.activeElement === field) find().then(() => links()[0]?.click());
      else return;
      event.preventDefault();
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest("a")) dialog.close();
    });
    for (const button of buttons) button.addEventListener("click", open);
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
      const asks = (event.key === "/" && !typing) || (event.key === "k" && (event.ctrlKey || event.metaKey));
      if (!asks || event.altKey || event.isComposing) return;
      event.preventDefault();
      event.stopPropagation();
      open();
    }, true);
  }

  function row({ address, title, heading, text }, typed) {
    return h(
      "li",
      {},
      h(
        "a",
        { href: `${page.base}/${address}` },
        h("span.kb-search__title", {}, marked(title, typed)),
        heading ? h("span.kb-search__where", {}, marked(heading, typed)) : null,
        text ? h("span.kb-search__text", {}, marked(text, typed)) : null,
      ),
    );
  }

  /** A text with the typed words marked in it. */
  function marked(text, typed) {
    const parts = typed.match(/[0-9a-z_]+|[\u3400-\u9fff]+/gi)?.flatMap((word) => (word >= "\u3400" ? pairs(word) : [word])) ?? [];
    if (!parts.length) return [text];
    const pattern = new RegExp(`(${parts.sort((a, b) => b.length - a.length).join("|")})`, "gi");
    return text.split(pattern).map((part, place) => (place % 2 ? h("mark", {}, part) : part));
  }

  const pairs = (run) => (run.length < 3 ? [run] : [run, ...Array.from(run.slice(1), (_, place) => run.slice(place, place + 2))]);

  // ---- the language switch keeps the heading; code that scrolls takes the focus

  function mountLanguage(link) {
    const update = () => {
      const passed = [...document.querySelectorAll(".md-content :is(h2, h3)[id]")].filter(
        (heading) => heading.getBoundingClientRect().top < 140,
      );
      link.hash = passed.at(-1)?.id ?? "";
    };
    for (const event of ["pointerdown", "focus", "click"]) link.addEventListener(event, update);
  }

  function mountScrolling() {
    for (const element of document.querySelectorAll(".md-typeset pre > code, .md-typeset__scrollwrap")) {
      const scrolls = element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1;
      if (scrolls) element.tabIndex = 0;
    }
  }

  /** From a file, a folder's address opens its listing, not its page. */
  function mountFileLinks() {
    for (const link of document.querySelectorAll("a[href]"))
      if (link.protocol === "file:" && link.pathname.endsWith("/")) link.pathname += "index.html";
  }

  const box = $('[data-kbask="diagnose"]');
  if (box) mountBox(box);
  if (location.protocol === "file:") mountFileLinks();
  mountSearch(document.querySelectorAll('[data-kbask="search"]'));
  for (const link of document.querySelectorAll('[data-kbask="language"]')) mountLanguage(link);
  // After the theme, which wraps tables, and on phones takes the focus from code.
  const scrolling = waiting(mountScrolling, 200);
  window.addEventListener("load", scrolling);
  window.addEventListener("resize", scrolling);
  document.addEventListener("change", scrolling); // Another tab is shown.
})();
