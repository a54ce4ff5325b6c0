// Data and a text -> ranked entries with a confidence each, or a refusal: the twin of indexer/signatures.py, ranking.py and
// Index.search without vectors. And the site's search. Pure: nothing here loads or sends anything.

import { Bm25, Words } from "./words.js";
import { Understanding } from "./understand.js";

export const FORMAT = 1;

export class Engine {
  constructor(data) {
    if (data.format !== FORMAT) throw new Error(`data of format ${data.format}, wanted ${FORMAT}`);
    this.data = data;
    this.words = new Words(data.patterns, data.limits);
    this.understanding = new Understanding(data);
    this.bm25 = new Bm25(data.words);
    this.foreign = new Set(data.foreign.split("\n"));
    this.signatures = new Signatures(data.signatures);
    this.about = new Map(data.background);
    this.ids = [...data.entries.map((entry) => entry.id), ...data.background.map(([id]) => id)];
  }

  /** Every entry that is worth a look, best first, and what was understood; `late()` says when time is up. */
  diagnose(text, late) {
    const query = this.understanding.query(text, late);
    const terms = this.words.tokens(query.searchText);
    const names = this.words.candidates(query.topicText);
    const evidence = {
      matches: this.matches(query, late),
      bm25: this.bm25.scores(terms),
      isLog: query.isLog,
      field: this.bm25.field(terms),
      foreign: [...names].filter((name) => this.foreign.has(name)).length,
    };
    return { ...this.rank(evidence), query };
  }

  /** The signatures found, by the number of their entry or problem of the background. */
  matches(query, late) {
    const count = this.data.entries.length;
    const { found, complete } = this.signatures.match(query.lines, late);
    query.complete &&= complete;
    const isStrong = (match) => !match.weak;
    const strong = found.filter((match) => match.owner < count && isStrong(match));
    // Where an entry's own message is there, and is nobody else's consequence, the background cannot change the answer.
    const decided = strong.length && !strong.some((match) => this.data.entries[match.owner].yields_to.length);
    const matches = new Map();
    for (const match of found) {
      if (decided && match.owner >= count) continue;
      if (!matches.has(match.owner)) matches.set(match.owner, []);
      matches.get(match.owner).push(match);
    }
    return matches;
  }

  rank(evidence) {
    const { entries, background, weights, threshold } = this.data;
    const yielded = this.yielded(evidence.matches);
    const rows = this.features(evidence, yielded);
    const scores = rows.map((row) =>
      Object.entries(row).reduce((sum, [name, value]) => sum + weights[name] * value, weights.intercept),
    );
    const leader = scores.indexOf(scores.reduce((best, score) => Math.max(best, score), -Infinity));
    // A problem without an entry is named only where it is likelier than not: to something else, something is always nearest.
    const behind = leader >= entries.length && scores[leader] >= 0 ? background[leader - entries.length] : null;
    const order = entries.map((_, number) => number).sort((one, other) => scores[other] - scores[one]);
    const hits = order.map((number) => ({
      id: entries[number].id,
      score: scores[number],
      confidence: probability(scores[number]),
      matched: evidence.matches.get(number) ?? [],
      hasWords: rows[number].amount > 0,
      yieldedTo: (yielded.get(number) ?? []).map((id) => ({ id, about: this.about.get(id) })),
      canFollow: entries[number].yields_to.length > 0,
      pages: entries[number].pages,
    }));
    return { hits, behind, answered: hits.length > 0 && hits[0].confidence >= threshold };
  }

  /** For each entry whose message was found, the problems whose own message was found too, and which leave it behind. */
  yielded(matches) {
    const strong = new Set();
    for (const [owner, found] of matches) if (found.some((match) => !match.weak)) strong.add(this.ids[owner]);
    const yielded = new Map();
    for (const owner of matches.keys()) {
      const before = (this.data.entries[owner]?.yields_to ?? []).filter((id) => strong.has(id));
      if (before.length) yielded.set(owner, before);
    }
    return yielded;
  }

  features({ matches, bm25, isLog, field, foreign }, yielded) {
    const { limits } = this.data;
    const combined = standardised(bm25);
    const [best, second] = combined.length > 1 ? [...combined].sort((one, other) => other - one) : [combined[0], combined[0]];
    const rows = this.ids.map((_, number) => {
      const found = matches.get(number) ?? [];
      const saysSo = found.some((match) => !match.weak);
      const strong = saysSo && !yielded.has(number);
      const lead = combined[number] - (combined[number] === best ? second : best);
      // In a log that has the message itself, it does not matter in whose field; a question may only quote it.
      const elsewhere = strong && isLog ? 0 : 1;
      return {
        amount: Math.log1p(bm25[number]),
        lead: Math.min(Math.max(lead, strong ? 0 : -limits.lead), limits.lead),
        strong: Number(strong),
        weak: Number(found.length > 0 && !saysSo),
        yielded: Number(saysSo && !strong),
        other: 0,
        field: Math.min(field, limits.field) * elsewhere,
        foreign: Math.min(foreign, limits.foreign) * elsewhere,
      };
    });
    const hasStrong = rows.some((row) => row.strong);
    for (const row of rows) row.other = Number(hasStrong && !row.strong);
    return rows;
  }
}

/** All signatures, matched line by line: a rolling hash of four characters tells which of them a line may hold. */
export class Signatures {
  constructor(rows) {
    this.all = rows.map(([owner, source, weak, cause]) => ({ owner, regex: new RegExp(source), weak: weak === 1, cause }));
    this.buckets = new Map();
    this.unfiltered = [];
    for (const [number, [, , , , literals]] of rows.entries()) {
      if (literals.some((literal) => literal.length < GRAM)) this.unfiltered.push(number);
      else for (const literal of literals) this.file(literal, number);
    }
    this.may = new Uint8Array(1 << 16);
    for (const hash of this.buckets.keys()) this.may[hash] = 1;
  }

  file(literal, number) {
    let hash = 0;
    for (let i = 0; i < GRAM; i++) hash = rolled(hash, literal.charCodeAt(i));
    if (!this.buckets.has(hash)) this.buckets.set(hash, []);
    this.buckets.get(hash).push({ literal, number });
  }

  /** Every signature found, once each, at its first line, and whether there was time for all lines. */
  match(lines, late = () => false) {
    const found = new Map();
    let complete = true;
    for (const [place, line] of lines.entries()) {
      complete = place % 16 < 15 || !late();
      if (!complete) break;
      for (const number of this.candidates(line.text)) {
        const { regex, ...signature } = this.all[number];
        const match = !found.has(number) && regex.exec(line.text);
        if (match) found.set(number, { ...signature, line, start: match.index, end: match.index + match[0].length });
      }
    }
    return { found: [...found.values()], complete };
  }

  candidates(text) {
    const numbers = new Set(this.unfiltered);
    let hash = 0;
    for (let i = 0; i < text.length; i++) {
      hash = rolled(hash, text.charCodeAt(i));
      if (!this.may[hash] || i < GRAM - 1) continue;
      for (const { literal, number } of this.buckets.get(hash))
        if (text.startsWith(literal, i - GRAM + 1)) numbers.add(number);
    }
    return numbers;
  }
}

const GRAM = 4;
const rolled = (hash, code) => ((hash << 4) ^ code) & 0xffff; // What was four characters ago has left it.

/** The site's search: pages of the reader's language by all their words, entries by both languages' asks too. */
export class Search {
  constructor(engine, data) {
    this.engine = engine;
    this.data = data;
    this.bm25 = new Bm25(data.words);
    this.headings = [...data.entries, ...data.pages].map(({ title, headings }) =>
      [["", title], ...headings].map(([id, text]) => ({ id, text, tokens: this.engine.words.tokens(text) })),
    );
  }

  /** Pages that have what was typed, best first; the last word may still be incomplete. */
  find(text, limit = 12) {
    const typed = this.engine.words.tokens(text);
    const terms = [...new Set(typed)];
    if (!terms.length) return [];
    const scores = new Float64Array(this.bm25.size);
    const had = new Uint16Array(this.bm25.size);
    const last = /[\s，。：:]$/.test(text) ? null : terms.at(-1);
    for (const term of terms) this.add(scores, had, term, term === last ? this.beginnings(text, term) : []);
    const wanted = new Set(terms);
    const mostHad = Math.max(...had);
    const results = [...scores.keys()].filter((number) => had[number] && had[number] > mostHad / 2);
    for (const number of results) {
      const [title] = this.headings[number];
      scores[number] += 2 * title.tokens.filter((token) => wanted.has(token) || (last && token.startsWith(last))).length;
      scores[number] *= had[number] / terms.length; // All words count for more than one word often.
      if (number >= this.data.entries.length) scores[number] /= 3; // Pages about the site name everything, and answer nothing.
    }
    results.sort((one, other) => scores[other] - scores[one]);
    return results.slice(0, limit).map((number) => this.result(number, wanted, last));
  }

  /** Terms that go on from the last word as it was typed, before endings were taken off. */
  beginnings(text, term) {
    const word = text.trim().toLowerCase().match(/[0-9a-z_]+$/)?.[0] ?? term;
    return word.length < 2 ? [] : [...this.bm25.beginningWith(word), ...this.bm25.beginningWith(term)];
  }

  add(scores, had, term, beginnings) {
    const own = new Float64Array(this.bm25.size);
    const exact = this.bm25.vocabulary.get(term);
    this.bm25.add(own, exact, 1);
    for (const number of new Set(beginnings)) if (number !== exact) this.bm25.add(own, number, 0.5);
    const asked = this.engine.bm25.scores([term]);
    for (let number = 0; number < this.data.entries.length; number++) own[number] += 0.5 * asked[number];
    for (let number = 0; number < own.length; number++) {
      if (!own[number]) continue;
      scores[number] += own[number];
      had[number] += 1;
    }
  }

  result(number, wanted, last) {
    const page = number < this.data.entries.length ? this.data.entries[number] : this.data.pages[number - this.data.entries.length];
    const headings = this.headings[number].slice(1).map((heading) => ({
      ...heading,
      count: new Set(heading.tokens.filter((token) => wanted.has(token) || (last && token.startsWith(last)))).size,
    }));
    headings.sort((one, other) => other.count - one.count);
    const heading = headings[0]?.count ? headings[0] : null;
    return {
      address: page.address + (heading ? `#${heading.id}` : ""),
      title: page.title,
      heading: heading?.text ?? "",
      text: page.text ?? "",
    };
  }
}

export function probability(logOdds) {
  return 1 / (1 + Math.exp(-Math.min(Math.max(logOdds, -50), 50)));
}

function standardised(scores) {
  const values = [...scores];
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return values.map((value) => (value - mean) / Math.max(deviation, 1e-6));
}
