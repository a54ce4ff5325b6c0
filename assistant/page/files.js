// Files and long pastes: bytes -> text, and a text -> what of it is sent again with a follow-up.

export const MAX_BYTES = 50 << 20; // Of a file: as JSON, where each line's end takes two, it still fits the server's 64 MiB.
export const IN_THE_BOX = 200_000; // Characters: a box with more of them makes the whole page slow.
const KEPT_OF_A_REPORT = 900_000; // Characters that go with each follow-up: enough for any log but the longest, and quick to send.

/** A file's text, null where it is none. @param {Blob} file @returns {Promise<string | null>} */
export async function textOf(file) {
  return decoded(new Uint8Array(await file.arrayBuffer()));
}

/** Bytes as text: UTF-16 by its mark, UTF-8, or GBK where most of that is broken; null where it is no text. */
function decoded(bytes) {
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
    return new TextDecoder(bytes[0] === 0xff ? "utf-16le" : "utf-16be").decode(bytes);
  const start = bytes.subarray(0, 4096);
  const control = start.filter((byte) => byte < 32 && ![0, 8, 9, 10, 11, 12, 13, 27].includes(byte)).length;
  if (20 * control > start.length) return null;
  const text = new TextDecoder().decode(bytes);
  const broken = text.indexOf("\ufffd");
  if (broken < 0) return text;
  // The part where it breaks tells which it is; the whole of a large file would take seconds to count.
  const part = text.slice(Math.max(0, broken - 2000), broken + 20_000);
  const count = (pattern, where) => where.match(pattern)?.length ?? 0;
  if (2 * count(/\ufffd/g, part) <= count(/[^\x00-\x7f]/g, part)) return text;
  const other = new TextDecoder("gb18030").decode(bytes);
  const sample = other.slice(Math.max(0, broken - 2000), broken + 20_000);
  const chinese = count(/[\u3400-\u9fff]/g, sample);
  return chinese > 2 && chinese > 4 * count(/\ufffd/g, sample) ? other : text;
}

/** How many lines a text has. */
export function lineCount(text) {
  let count = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count += 1;
  return text.endsWith("\n") ? count - 1 : count;
}

/**
 * Lines of a text by their number from 1, each cut to what can be shown; a large text is walked through, not split.
 * @param {string} text @param {Set<number>} wanted @returns {Map<number, string>}
 */
export function linesAt(text, wanted) {
  const found = new Map();
  const last = Math.max(0, ...wanted);
  let start = 0;
  for (let number = 1; number <= last && start <= text.length; number += 1) {
    let end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    if (wanted.has(number)) found.set(number, text.slice(start, Math.min(end, start + 400)).trimEnd());
    start = end + 1;
  }
  return found;
}

/** What of a report goes with its follow-ups: all of it, of a very long one its ends and the lines that matter. */
export function reportToKeep(text, lines) {
  if (text.length <= KEPT_OF_A_REPORT) return text;
  const half = KEPT_OF_A_REPORT / 2;
  return [text.slice(0, half), ...lines.map((line) => line.text), text.slice(-half)].join("\n");
}
