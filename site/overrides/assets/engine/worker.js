// The engine in a thread of its own. Data comes in from this site's own files; of what is pasted, nothing goes out.

import { Engine, Search } from "./engine.js";

const BUDGET = 1500; // Milliseconds for one text.

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
    const result = engine.diagnose(text, () => performance.now() - started > BUDGET);
    const { query, hits, behind } = result;
    const { lines, searchText, topicText, ...understood } = query;
    const undecided = engine.data.undecided;
    const near = hits.filter((hit, place) => place && hit.confidence >= undecided * hits[0].confidence).map((hit) => hit.id);
    const others = [...near, ...(behind ? [behind[0]] : [])];
    const looks = others.map((id) => ({ id, look: engine.data.apart[[hits[0].id, id].sort().join(" ")] }));
    const apart = looks.find(({ look }) => look);
    return { ...result, hits: hits.slice(0, 5), apart: apart ?? null, query: understood, milliseconds: performance.now() - started };
  },

  search: ({ text }) => search.find(text),
};

async function read(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return response.json();
}
