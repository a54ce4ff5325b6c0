// Text -> tokens, and BM25 over packed counts: the twin of indexer/lexical.py and indexer/foreign.py.

export const compile = ([source, flags], more = "") => new RegExp(source, flags + more);

export class Words {
  constructor(patterns, limits) {
    this.run = compile(patterns.run, "g");
    this.split = compile(patterns.split);
    this.case = compile(patterns.case, "g");
    this.name = compile(patterns.name, "g");
    this.limits = limits;
  }

  /** The tokens of a text, repeats included. */
  tokens(text) {
    const found = [];
    for (const run of text.match(this.run) ?? []) {
      if (run[0] >= "\u3400") {
        if (run.length === 1) found.push(run);
        for (let i = 0; i < run.length - 1; i++) found.push(run.slice(i, i + 2));
        continue;
      }
      const pieces = run.split(this.split).flatMap((part) => part.match(this.case) ?? []);
      if (pieces.length > 1 && run.length <= this.limits.token) found.push(run.toLowerCase());
      for (const piece of pieces) if (piece.length <= this.limits.token) found.push(stem(piece.toLowerCase()));
    }
    return found;
  }

  /** Everything in a text that could be a name: up to three neighbouring words, up to six Chinese characters. */
  candidates(text) {
    const found = new Set();
    let words = [];
    for (const run of text.toLowerCase().match(this.name) ?? []) {
      if (run[0] >= "\u3400") {
        words = [];
        for (let size = 2; size <= this.limits.characters; size++)
          for (let start = 0; start + size <= run.length; start++) found.add(run.slice(start, start + size));
        continue;
      }
      words.push(run);
      for (let size = 1; size <= Math.min(this.limits.words, words.length); size++) found.add(words.slice(-size).join(" "));
    }
    return found;
  }
}

const ENDINGS = [["ing", 6], ["ed", 5], ["es", 6], ["s", 4]];

/** An English word without its commonest endings. */
export function stem(word) {
  if (word.length <= 3 || !/^[a-z]+$/.test(word)) return word;
  for (const [ending, least] of ENDINGS) {
    if (word.endsWith(ending) && word.length >= least && !word.endsWith("ss")) {
      word = word.slice(0, -ending.length);
      if ((ending === "ing" || ending === "ed") && word.at(-1) === word.at(-2) && !"lsz".includes(word.at(-1)))
        word = word.slice(0, -1);
      break;
    }
  }
  return word.endsWith("e") && word.length > 4 ? word.slice(0, -1) : word;
}

const FIRST = 35; // The character that stands for 0.
const numbers = (text) => Int32Array.from(text, (character) => character.charCodeAt(0) - FIRST);

/** BM25 as postings, computed from the counts that Python packed. */
export class Bm25 {
  constructor(packed) {
    this.terms = packed.terms ? packed.terms.split("\n") : [];
    this.size = packed.lengths.length;
    this.vocabulary = new Map(this.terms.map((term, number) => [term, number]));
    const counts = numbers(packed.documents);
    const gaps = numbers(packed.gaps);
    const frequencies = numbers(packed.frequencies);
    const mean = packed.lengths.reduce((sum, length) => sum + length, 0) / Math.max(this.size, 1);
    const { k1, b } = packed;
    const norms = packed.lengths.map((length) => k1 * (1 - b + (b * length) / mean));
    this.starts = new Int32Array(this.terms.length + 1);
    this.documents = new Int32Array(gaps.length);
    this.weights = new Float32Array(gaps.length);
    let place = 0;
    for (let term = 0; term < counts.length; term++) {
      const rarity = Math.fround(Math.log(1 + (this.size - counts[term] + 0.5) / (counts[term] + 0.5)));
      let document = -1;
      for (const end = place + counts[term]; place < end; place++) {
        document += gaps[place] + 1;
        this.documents[place] = document;
        this.weights[place] = (rarity * frequencies[place] * (k1 + 1)) / (frequencies[place] + norms[document]);
      }
      this.starts[term + 1] = place;
    }
    this.fields = fieldWeights(packed, this.terms.length);
  }

  /** BM25 of each document; a term counts once however often the query repeats it. */
  scores(query) {
    const scores = new Float64Array(this.size);
    for (const term of new Set(query)) this.add(scores, this.vocabulary.get(term), 1);
    return scores;
  }

  add(scores, number, share) {
    if (number === undefined) return;
    for (let place = this.starts[number]; place < this.starts[number + 1]; place++)
      scores[this.documents[place]] += share * this.weights[place];
  }

  /** How much the query's words are those of this field, above 0, or of others, below. */
  field(query) {
    const terms = new Set(query);
    let total = 0;
    for (const term of terms) total += this.fields[this.vocabulary.get(term)] ?? 0;
    return total / Math.sqrt(terms.size + 4);
  }

  /** The numbers of the terms that begin with a text, the terms being sorted. */
  beginningWith(text) {
    let low = 0;
    let high = this.terms.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.terms[middle] < text) low = middle + 1;
      else high = middle;
    }
    const found = [];
    while (low < this.terms.length && this.terms[low].startsWith(text)) found.push(low++);
    return found;
  }
}

function fieldWeights(packed, size) {
  const weights = new Float32Array(size);
  const [ours, others] = packed.sizes;
  if (!ours || !others) return weights;
  const here = numbers(packed.ours);
  const there = numbers(packed.others);
  for (let term = 0; term < size; term++) {
    if (here[term] + there[term] === 0) continue;
    const share = Math.log((here[term] + 1) / (ours + 2)) - Math.log((there[term] + 1) / (others + 2));
    weights[term] = Math.min(Math.max(share, -packed.max_field), packed.max_field);
  }
  return weights;
}
