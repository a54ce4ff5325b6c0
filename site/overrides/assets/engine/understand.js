// A paste -> what it says: the twin of indexer/reading.py, denoise.py, facts.py, kinds.py and query.py. Every pattern and limit
// comes from Python in the data file; here are the steps only.

import { compile } from "./words.js";

export class Understanding {
  constructor(data) {
    const { patterns, kinds, limits, names } = data;
    this.limits = limits;
    this.names = names;
    this.worth = data.worth;
    this.pattern = Object.fromEntries(Object.entries(patterns).map(([name, pattern]) => [name, compile(pattern)]));
    this.every = Object.fromEntries(
      ["escape", "control", "bar", "value", "said", "version", "cjk"].map((name) => [name, compile(patterns[name], "g")]),
    );
    // As Python's `match`: at the very place where it is tried.
    this.at = Object.fromEntries(
      ["prefix", "exception", "message", "goes_on", "package"].map((name) => [name, compile(patterns[name], "y")]),
    );
    this.kinds = Object.entries(kinds).map(([name, pattern], place) => ({ name, bit: 1 << place, regex: compile(pattern) }));
    const bits = (members) => this.kinds.reduce((sum, kind) => (members.includes(kind.name) ? sum | kind.bit : sum), 0);
    this.bits = Object.fromEntries(this.kinds.map((kind) => [kind.name, kind.bit]));
    this.certain = bits(data.certain);
    this.program = bits(data.program);
    this.frame = bits(data.frame);
    this.deciding = bits(["error", "metrics", "kernel", "exception", "inner exception", "build", "death"]);
    this.mayBegin = new Set(names.may_begin);
    this.box = new Set(names.box + " ");
  }

  /** The query of a text; `late()` says when time is up: lines after that are left out, and `complete` is false. */
  query(text, late = () => false) {
    const raw = this.readLines(text);
    const cleaned = new Map();
    let complete = true;
    for (const [place, item] of raw.entries()) {
      complete = place % 16 < 15 || !late();
      if (!complete) break;
      for (const line of this.cleanLines(item)) if (!cleaned.has(line.text)) cleaned.set(line.text, line);
    }
    const lines = [...cleaned.values()];
    for (const [place, line] of lines.entries()) {
      if (place % 16 === 15 && late()) {
        complete = false;
        lines.length = place;
        break;
      }
      line.kinds = this.kindsOf(line.text);
    }
    const isLog = this.isLog(lines);
    const sentence = this.sentence(lines, isLog).slice(0, this.limits.sentence);
    const facts = [...new Map(this.facts(raw, sentence, isLog).map((line) => [`${line.number} ${line.text}`, line])).values()];
    for (const line of facts) line.kinds = this.kindsOf(line.text);
    const judged = [...this.judged(facts), ...(isLog ? this.judged(lines) : [])];
    judged.sort((one, other) => other.worth - one.worth);
    let deciding = judged.slice(0, this.limits.error_lines).map(({ line }) => line);
    if (isLog && !deciding.length && !sentence)
      deciding = lines.filter((line) => !(line.kinds & this.frame)).slice(-this.limits.ending);
    const errorLines = deciding.map(({ text }) => text.trim().slice(0, this.limits.error_length));
    return {
      lines: [...lines, ...this.joinedLines(lines), ...facts],
      root: judged.length && judged[0].worth >= this.worth["inner exception"] ? judged[0].line : null,
      exceptions: [...new Set(lines.map((line) => this.match("exception", line.text)?.[1]).filter(Boolean))],
      versions: this.versions(lines),
      ranks: [...new Set(lines.map((line) => line.rank).filter((rank) => rank !== null))].sort((a, b) => a - b),
      isLog,
      complete,
      searchText: [sentence, ...errorLines, ...this.frames(lines)].filter(Boolean).join("\n"),
      topicText: [sentence, ...this.topicLines(lines)].join("\n"),
      length: raw.length ? raw.at(-1).number : 0,
    };
  }

  /** Lines in which names of a field may stand: one of those that differ in digits alone, and no list of packages. */
  topicLines(lines) {
    const own = new Map();
    for (const { text } of lines.slice(0, this.limits.topic_lines)) {
      const kind = text.replace(/[0-9]+/g, "");
      if (!own.has(kind)) own.set(kind, text);
    }
    return [...own.values()].filter((text) => !this.match("package", text));
  }

  match(name, text, start = 0) {
    this.at[name].lastIndex = start;
    return this.at[name].exec(text);
  }

  // ---- reading: which lines are worth a look

  readLines(text) {
    const { head, tail, middle, piece } = this.limits;
    const items = [];
    text.replaceAll("\0", "").split("\n").forEach((line, place) => {
      for (const part of line.split("\r")) {
        if (!part) continue;
        if (part.length <= piece) items.push({ text: part, number: place + 1 });
        else for (const cut of this.pieces(part)) items.push({ text: cut, number: place + 1 });
      }
    });
    const end = Math.max(head, items.length - tail);
    const between = this.sift(items.slice(head, end));
    const kept = between.length > 2 * middle ? [...between.slice(0, middle), ...between.slice(-middle)] : between;
    return [...items.slice(0, head), ...kept, ...items.slice(end)];
  }

  *pieces(line) {
    const { piece, overlap } = this.limits;
    for (let start = 0; start < line.length - overlap; start += piece - overlap) yield line.slice(start, start + piece);
  }

  /** The first of each kind of line, digits aside; more of those that name an error, a zero or a death. */
  sift(items) {
    const { of_a_kind, of_a_telling_kind, kinds } = this.limits;
    const seen = new Map();
    return items.filter(({ text }) => {
      const kind = text.replace(COUNTED, "");
      const count = seen.get(kind) ?? 0;
      const needsTelling = count >= of_a_kind || (!count && seen.size >= kinds);
      if (count >= of_a_telling_kind || (needsTelling && !this.pattern.telling.test(text))) return false;
      seen.set(kind, count + 1);
      return true;
    });
  }

  // ---- denoising

  *cleanLines({ text, number }) {
    const glued = text.indexOf("[rank", 4) >= 0 || text.split("[rank", 3).length > 2;
    for (const part of glued ? text.split(this.pattern.glued) : [text]) {
      const line = this.clean(part, number);
      if (line.text.trim()) yield line;
    }
  }

  clean(raw, number) {
    let text = raw;
    if (text.includes("\t") || this.pattern.control.test(text))
      text = text.replace(this.every.escape, "").replaceAll("\t", "    ").replace(this.every.control, "");
    if (text.includes("%|")) text = text.replace(this.every.bar, "");
    if (NOT_ASCII.test(text) && this.pattern.has_box.test(text.slice(0, this.limits.piece))) text = strip(text, this.box);
    let rank = null;
    let stamped = false;
    let start = 0;
    while (this.mayBegin.has(text[start])) {
      const prefix = this.match("prefix", text, start);
      if (!prefix) break;
      stamped = true;
      const found = rank === null && this.pattern.rank.exec(prefix[0]);
      if (found) rank = Number(found.slice(1).find(Boolean));
      start += prefix[0].length;
    }
    return { text: text.slice(start).trimEnd(), number, rank, stamped, kinds: 0 };
  }

  /** Messages that a terminal or a box has wrapped, put together again. */
  *joinedLines(lines) {
    const lengths = new Map();
    for (const { text } of lines) lengths.set(text.length, (lengths.get(text.length) ?? 0) + 1);
    const width = Math.max(0, ...lengths.keys());
    const isTerminal = width >= 60 && width <= 300 && lengths.get(width) > 1;
    for (const [start, line] of lines.entries()) {
      const isException = this.match("message", line.text) !== null;
      if (line.text.length < 40 && !isException) continue;
      let text = line.text;
      for (let next = start + 1; next <= start + this.limits.joined && next < lines.length; next++) {
        const previous = lines[next - 1];
        const following = lines[next];
        const length = previous.text.length;
        if (following.number > previous.number + 1 || following.rank !== line.rank) break;
        if (isTerminal && length === width) text += following.text;
        else if (
          (isException && previous === line) ||
          (length >= 50 && length <= 200 && this.match("goes_on", following.text))
        )
          text += ` ${following.text.trim()}`;
        else break;
      }
      if (text !== line.text) yield { ...line, text: text.slice(0, this.limits.piece) };
    }
  }

  // ---- facts: what several lines say together

  facts(raw, sentence, isLog) {
    return [...(isLog ? this.metricLines(raw) : []), ...this.loopLines(raw), ...this.saidLines(sentence)];
  }

  *metricLines(raw) {
    const series = new Map();
    const latest = {};
    const seen = new Set();
    for (const { text, number } of raw) {
      const lower = text.toLowerCase();
      if (!this.names.may_have.some((word) => lower.includes(word))) continue;
      if (text.includes("train_runtime") || this.pattern.classifier.test(text)) continue;
      const named = {};
      for (const found of text.matchAll(this.every.value)) {
        const name = found.groups.name.toLowerCase().replaceAll(" ", "_");
        named[this.names.metrics[name] ?? name] ??= found.groups.value.toLowerCase();
      }
      const report = text.slice(Math.max(text.indexOf("{"), 0));
      if (!Object.keys(named).length || seen.has(report)) continue;
      seen.add(report);
      const isPolicy = this.pattern.policy.test(text);
      for (const [name, value] of Object.entries(named)) {
        const key = isPolicy && name === "loss" ? "policy_loss" : name;
        if (!series.has(key)) series.set(key, []);
        if (series.get(key).length < this.limits.reports) series.get(key).push({ value: toNumber(value), number });
      }
      Object.assign(latest, named);
    }
    for (const [name, own] of series) {
      for (const what of ["0", "nan"]) {
        const hits = own.map(({ value }) => (what === "nan" ? Number.isNaN(value) : value === 0));
        const count = hits.filter(Boolean).length;
        if (!count || (count < this.limits.share * hits.length && !hits.at(-1))) continue;
        const run = hits.length - 1 - hits.lastIndexOf(false);
        const others = ["loss", "grad_norm"].filter((other) => other in latest && other !== name);
        const beside = others.map((other) => `, ${other} ${latest[other]}`).join("");
        const how = run ? `the last ${run}` : `${count}`;
        const { number } = own[run ? own.length - run : hits.indexOf(true)];
        yield fact(`metrics: ${name} ${what} in ${how} of ${hits.length} reports${beside}`, number);
      }
    }
  }

  *loopLines(raw) {
    let looked = 0;
    for (const { text, number } of raw) {
      if (text.length < 40 || !text.trim()) continue;
      const start = text.slice(0, 2000);
      if (new Set(start).size > Math.floor(start.length / 3)) continue;
      if (++looked > this.limits.loops) return;
      const found = this.pattern.loop.exec(text.slice(0, 1000));
      if (found && new Set(found[1]).size > 2 && found[0].length >= 40) {
        yield fact(`text: ${Math.floor(found[0].length / found[1].length)} times "${found[1].slice(0, 40)}"`, number);
        return;
      }
    }
  }

  *saidLines(text) {
    const names = [...text.matchAll(this.every.said)];
    for (const [place, found] of names.entries()) {
      const start = found.index + found[0].length;
      const end = Math.min(start + this.limits.reach, names[place + 1]?.index ?? text.length);
      const clause = text.slice(start, end).split(this.pattern.clause, 1)[0];
      if (this.pattern.zero.test(clause)) yield fact(`said: ${found.groups.loss ? "loss" : "learning_rate"} 0`, 1);
    }
  }

  // ---- what the lines are

  kindsOf(text) {
    let own = 0;
    for (const { bit, regex } of this.kinds) if (regex.test(text)) own |= bit;
    return own;
  }

  isLog(lines) {
    const certain = lines.filter((line) => line.stamped || line.kinds & this.certain).length;
    if (!certain) {
      const likely = lines.filter((line) => line.kinds & this.program).length;
      return likely >= 3 && 2 * likely > lines.length;
    }
    const [first] = lines;
    const asks = this.pattern.asks.test(first.text) || this.pattern.cjk.test(first.text);
    return certain > 1 || (lines.length === 1 && !asks) || lines.length > 2;
  }

  /** What the user says: all of a question; of a log the lines that a person would write. */
  sentence(lines, isLog) {
    const { heading, follows, code, place, chatter } = this.bits;
    if (!isLog) return lines.filter((line) => !(line.kinds & heading)).map((line) => line.text.trim()).join("\n");
    const said = lines.filter(({ text, stamped, kinds }) => {
      if (stamped || kinds & (heading | this.certain | follows)) return false;
      const chinese = text.match(this.every.cjk)?.length ?? 0;
      if (chinese >= 2 && (!(kinds & (code | place)) || 4 * chinese > text.length)) return true;
      const words = text.trim().split(/\s+/).length;
      return !(kinds & (this.program | chatter)) && words > 2 && this.pattern.person.test(text);
    });
    return said.map((line) => line.text.trim()).join("\n");
  }

  judged(lines) {
    const judged = [];
    for (const line of lines) {
      const { text, kinds, stamped } = line;
      if (!(kinds & this.deciding)) continue;
      let worth = stamped ? 0.5 : 0;
      for (const { name, bit } of this.kinds) if (kinds & bit) worth += this.worth[name] ?? 0;
      if (kinds & this.bits.heading || worth <= -4) continue;
      if (this.pattern.cjk.test(text) && !stamped && !(kinds & this.certain)) continue;
      judged.push({ worth, line });
    }
    return judged;
  }

  frames(lines) {
    const places = [];
    for (const { text, kinds } of lines) {
      const found = kinds & this.bits.frame && this.pattern.place.exec(text.slice(0, this.limits.frame_reach));
      if (found) places.push(found.slice(1).filter(Boolean).join(" "));
    }
    return [...new Set(places.slice(-this.limits.frames).reverse())];
  }

  versions(lines) {
    const text = lines.slice(0, 3000).map((line) => line.text).join("\n");
    const found = {};
    for (const [, name, version] of text.matchAll(this.every.version))
      found[name.toLowerCase().replaceAll("pytorch", "torch").replaceAll("_", "-")] = version;
    return found;
  }
}

// Lines of one kind differ in these only: counts, times, rates, bars.
const COUNTED = /[0-9.,:+\- #>=\t█▉▊▋▌▍▎▏]+/g;
const NOT_ASCII = /[^\x00-\x7f]/;

const fact = (text, number) => ({ text, number, rank: null, stamped: false, kinds: 0 });

function toNumber(value) {
  if (/^[-+]?nan$/.test(value)) return NaN;
  if (/^[-+]?inf$/.test(value)) return Infinity;
  const number = Number(value);
  return Number.isNaN(number) ? 1 : number; // `1.2.3` is a version, no value.
}

function strip(text, characters) {
  let start = 0;
  let end = text.length;
  while (start < end && characters.has(text[start])) start++;
  while (end > start && characters.has(text[end - 1])) end--;
  return text.slice(start, end);
}
