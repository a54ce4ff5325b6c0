// The engine in a thread of its own. Data comes in from this site's own files; of what is pasted, nothing goes out.

import { Engine, Search } from "./engine.js";

const BUDGET = 1500; // Milliseconds for one text.
const MOST = 8_000_000; // Characters looked at, half from the beginning and half from the end.

let engine = null;
let search = null;

self.onmessage = async ({ data: { id, task, ...given } }) => {
  try {
    self.postMessage({ id, result: await TASKS[task](given) });
  } catch (error) {
    self.postMessage({ id, error: String(error.message ?? error) });
  }
};

const TASKS = {
  async load({ address }) {
    engine = new Engine(await read(address));
    return true;
  },

  async loadSearch({ address }) {
    search = new Search(engine, await read(address));
    return true;
  },

  diagnose({ text }) {
    const started = performance.now();
    const looked = shortened(text);
    const result = engine.diagnose(looked, () => performance.now() - started > BUDGET);
    const { query, hits, behind } = result;
    query.complete &&= looked === text;
    const { lines, searchText, topicText, ...understood } = query;
    const undecided = engine.data.undecided;
    const near = hits.filter((hit, place) => place && hit.confidence >= undecided * hits[0].confidence).map((hit) => hit.id);
    const others = [...near, ...(behind ? [behind[0]] : [])];
    const apart = others.map((id) => ({ id, look: engine.data.apart[[hits[0]?.id, id].sort().join(" ")] })).find((o) => o.look);
    return { ...result, hits: hits.slice(0, 5), apart: apart ?? null, query: understood, milliseconds: performance.now() - started };
  },

  search: ({ text }) => search.find(text),
};

async function read(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return response.json();
}

/** A text without its middle where it is very long; lines keep their numbers. */
function shortened(text) {
  if (text.length <= MOST) return text;
  const left = text.slice(MOST / 2, -MOST / 2).split("\n").length - 1;
  return `${text.slice(0, MOST / 2)}\n${"\n".repeat(Math.max(left - 1, 0))}${text.slice(-MOST / 2)}`;
}
