// The server's interface: a question and its events, an entry, a script; what goes wrong, as one class.

import { reader } from "./dom.js";

const KEPT_TOKEN = "kbask.token";
let token = readToken();

function readToken() {
  try {
    return sessionStorage.getItem(KEPT_TOKEN) ?? "";
  } catch {
    return "";
  }
}

/** The token that goes with every request from now on; kept in this tab. */
export function useToken(given) {
  token = given;
  try {
    sessionStorage.setItem(KEPT_TOKEN, given);
  } catch {
    // Then it is asked for again after the next load.
  }
}

export const hasToken = () => token !== "";

/** Why a request was not answered: its status, 0 where no server was reached; the seconds to wait where it says so. */
export class Refused extends Error {
  constructor(message, status = 0, seconds = 0) {
    super(message);
    this.status = status;
    this.seconds = seconds;
  }
}

/** @returns {Promise<Response>} @throws {Refused} */
async function request(address, options = {}) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let response;
  try {
    response = await fetch(address, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("", 0);
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10) || 0;
  throw new Refused(told?.error?.message ?? `${response.status} ${response.statusText}`, response.status, seconds);
}

/**
 * The events of a question as they come: `understood`, `hits`, `block`, `done`.
 * @param {{text: string, conversation: {question: string, answer: string}[]}} asked
 * @param {AbortSignal} signal aborting it makes the server stop writing
 * @returns {AsyncGenerator<{name: string, data: any}>}
 * @throws {Refused}
 */
export async function* ask({ text, conversation }, signal) {
  const response = await request("/v1/ask", {
    method: "POST",
    signal,
    // The page's language is for a report that has none of its own; a chosen one is for every answer.
    headers: { "Content-Type": "application/json", Accept: "text/event-stream", "Accept-Language": reader.language },
    body: JSON.stringify({ text, conversation, ...(reader.hasChosen ? { language: reader.language } : {}) }),
  });
  let isWhole = false;
  try {
    for await (const event of events(response.body)) {
      if (event.name === "error") throw new Refused(event.data.error.message, 500);
      isWhole ||= event.name === "done";
      yield event;
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof Refused) throw error;
    throw new Refused("", 0);
  }
  if (!isWhole) throw new Refused("", 0);
}

/** Server-sent events of a body. @param {ReadableStream<Uint8Array>} body */
async function* events(body) {
  const reading = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reading.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const lines = part.split("\n");
        const name = lines.find((line) => line.startsWith("event: "))?.slice(7) ?? "message";
        const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
        if (data.length) yield { name, data: JSON.parse(data.join("\n")) };
      }
    }
  } finally {
    reading.cancel().catch(() => {}); // Whoever stops listening hangs up.
  }
}

const entries = new Map();

/** An entry in the reader's language, once a page. @param {string} id @throws {Refused} */
export function entry(id, language) {
  const key = `${id} ${language}`;
  if (!entries.has(key)) {
    const found = request(`/v1/entries/${encodeURIComponent(id)}?language=${language}`).then((response) => response.json());
    found.catch(() => entries.delete(key));
    entries.set(key, found);
  }
  return entries.get(key);
}

/** The text of a script. @param {string} address as `source` gives it @throws {Refused} */
export const script = (address) => request(address).then((response) => response.text());

/** What /readyz says of the model: `none`, `ready`, `loading` or `failed`; "" where it cannot be told. */
export async function modelState() {
  try {
    const told = await (await request("/readyz")).json();
    return String(told.model).split(":")[0];
  } catch {
    return "";
  }
}
