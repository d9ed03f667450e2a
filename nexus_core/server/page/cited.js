// The passages that answers cite, kept as long as this tab, for conversations that are opened again.

import { cited } from "./citations.js";

const NAME = "nexus.cited.";

// Of a run's answer; `contextId` is that of the store, empty where the items are in none.
export function keep(run, text, passages, contextId) {
  const numbers = new Set(cited(text));
  const found = passages.filter(({ number }) => numbers.has(number));
  if (!found.length) return;
  const kept = JSON.stringify({ contextId, passages: found });
  try {
    sessionStorage.setItem(NAME + run, kept);
  } catch {
    forget(); // It is full: what is older makes room, and what is too large for it is not kept.
    try { sessionStorage.setItem(NAME + run, kept); } catch { /* Its citations will be plain text. */ }
  }
}

// What was kept of a run; `lacks` tells that its answer cites what was not.
export function recall(run, text) {
  const found = JSON.parse(sessionStorage.getItem(NAME + run) ?? '{"contextId": "", "passages": []}');
  return { ...found, lacks: !found.passages.length && cited(text).length > 0 };
}

export function forget() {
  for (const name of Object.keys(sessionStorage)) if (name.startsWith(NAME)) sessionStorage.removeItem(name);
}
