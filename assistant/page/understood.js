// What kbask read of a report: its facts as chips, and the lines that matter within the lines around them.

import { h, word } from "./dom.js";
import { linesAt } from "./files.js";

const SHOWN = 3; // Lines; more at a click, so that the answer begins on the first screen.
const MAX_LENGTH = 400; // Characters of a line that the server tells.
const TOGETHER = /^(?:metrics|text|said): /; // What several lines say together stands in no line.

/** @typedef {{number: number, rank: number | null, text: string}} Line */

/**
 * @param {{query: any, lines: Line[]}} found the event `understood`
 * @param {string} text the report as it was sent
 * @param {string[]} matched the lines by which the best entry was found
 * @returns {HTMLElement | null} null where there is nothing to show but the question itself
 */
export function understood({ query, lines }, text, matched) {
  const facts = factsOf(query);
  const excerpt = query.is_log ? excerptOf(lines, text, matched.map((line) => line.trim().slice(0, MAX_LENGTH))) : null;
  if (!facts.length && !excerpt) return null;
  return h(
    "details.kb-read",
    { open: true },
    h("summary", {}, word("understood")),
    facts.length
      ? h("div.kb-read__facts", { tabindex: "0", role: "region", "aria-label": word("facts") }, // On one row, which scrolls.
          h("dl.kb-understood", {}, facts.map(([key, values]) =>
            h("div", { "data-fact": key }, h("dt", {}, word(key)), values.map((value) => h("dd", { title: value.length > 60 ? value : null }, value))))))
      : null,
    excerpt,
  );
}

/** The facts that are there, each with its values. @returns {[string, string[]][]} */
function factsOf(query) {
  const facts = {
    exceptions: query.exceptions.slice(0, 4),
    deaths: query.deaths.slice(0, 4),
    ranks: query.ranks.length > 1 ? [spans(query.ranks)] : [],
    gpus: query.gpus.slice(0, 4),
    versions: Object.entries(query.versions).slice(0, 6).map((pair) => pair.join(" ")),
    frames: query.frames.slice(0, 1),
    launch: query.launch ? [query.launch.replace(/^\$ /, "")] : [],
  };
  return Object.entries(facts).filter(([, values]) => values.length);
}

/** 0, 1, 2, 3, 7 -> "0-3, 7 (5)" */
function spans(numbers) {
  const parts = [];
  for (const number of numbers) {
    const last = parts.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else parts.push([number, number]);
  }
  const shown = parts.slice(0, 6).map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
  return `${shown.join(", ")}${parts.length > 6 ? ", …" : ""}${numbers.length > 2 ? ` (${numbers.length})` : ""}`;
}

/** @param {Line[]} lines likeliest root first @param {string[]} matched the strongest first @returns {HTMLElement | null} */
function excerptOf(lines, text, matched) {
  const byText = new Map(lines.map((line) => [line.text, line]));
  const deciding = byText.get(matched.find((line) => byText.has(line))); // One is enough: other ranks print the same.
  const real = [...new Set([deciding, ...lines])].filter((line) => line && !TOGETHER.test(line.text));
  const together = lines.filter((line) => /^(?:metrics|text): /.test(line.text)).slice(0, 1);
  if (!real.length && !together.length) return null;
  const box = h("div.kb-excerpt");
  const few = real.slice(0, SHOWN - together.length);
  const show = (lines, isAll) => {
    const isAlone = lines.length === 1; // Then there is room for the lines around it.
    const list = h("ol.kb-lines", { "aria-label": word("lines_label"), tabindex: "-1" }, together.map(togetherRow),
      rows(lines, text, new Set(matched), isAll || (isAlone && !together.length)));
    const all = () => {
      show(real, true);
      box.firstChild.focus({ preventScroll: true });
      box.closest("details").classList.add("kb-read--all");
    };
    const more = isAll || few.length === real.length
      ? []
      : [h("button.kb-link", { type: "button", onclick: all }, word("all_lines", { count: real.length }))];
    box.replaceChildren(list, ...more);
  };
  show(few, false);
  return box;
}

const togetherRow = (line) => h("li.kb-line.kb-line--tells", {}, h("span.kb-line__number", {}, word("together")), h("span.kb-line__text", {}, h("mark.kb-mark--matched", {}, line.text)));

/** The lines; with those around the first and what is left out between them where `isWithin` the report. */
function rows(lines, text, matched, isWithin) {
  const telling = new Map(lines.map((line) => [line.number, line]));
  const [{ number: first } = { number: 0 }] = lines;
  const neighbours = isWithin ? [first - 1, first + 1] : [];
  const wanted = new Set([...telling.keys(), ...neighbours].filter((number) => number > 0));
  const around = linesAt(text, wanted);
  if (!around.get(first)?.includes(lines[0].text.slice(0, 40))) around.clear(); // They are of another text than this.
  const shown = [];
  let before = 0;
  for (const number of [...wanted].sort((one, other) => one - other)) {
    const line = telling.get(number);
    const raw = around.get(number);
    if (!line && !raw) continue;
    if (isWithin && before && number > before + 1)
      shown.push(h("li.kb-line.kb-line--gap", {}, h("span.kb-line__number", { "aria-hidden": "true" }, "⋮"), h("span.kb-line__text", {}, word("line_skipped", { count: number - before - 1 }))));
    before = number;
    shown.push(
      h(
        `li.kb-line${line ? ".kb-line--tells" : ""}`,
        {},
        h("span.kb-line__number", {}, String(number)),
        h("span.kb-line__text", {},
          line && line.rank !== null ? h("span.kb-line__rank", {}, word("rank", { rank: line.rank })) : null,
          line ? h(matched.has(line.text) ? "mark.kb-mark--matched" : "mark", {}, line.text) : raw),
      ),
    );
  }
  return shown;
}
