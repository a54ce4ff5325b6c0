// The turns of this tab, so that a reload does not lose them: in the session's storage, which goes with the tab.

const KEPT = "kbask.turns";
const MOST = 2_000_000; // Characters; a longer conversation is not kept.

/** @param {import("./answer.js").Turn[]} turns */
export function keep(turns) {
  forget();
  if (turns.reduce((sum, { asked }) => sum + asked.text.length, 0) > MOST) return;
  const data = JSON.stringify(turns.filter(({ events }) => events.length).map(({ asked: { text, label }, events }) => ({ text, label, events })));
  if (data.length > MOST) return;
  try {
    sessionStorage.setItem(KEPT, data);
  } catch {
    // Nothing may be stored here, or there is no room.
  }
}

/** @returns {{text: string, label: string, events: {name: string, data: any}[]}[]} */
export function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? [];
  } catch {
    return [];
  }
}

export function forget() {
  try {
    sessionStorage.removeItem(KEPT);
  } catch {
    // Nothing is stored here.
  }
}
