// Your conversations: listed, opened, deleted.

import { call } from "./api.js";
import { chosen } from "./choices.js";
import { sure } from "./dialogs.js";
import { $, alone, counted, el, route, trying, when } from "./dom.js";
import { Paged } from "./paged.js";

let list;

export function begin() {
  list = new Paged("conversations", async (after) => {
    const { conversations, next } = await call("GET", `/conversations?limit=50${after}`);
    return { next, rows: () => conversations.map(row), drawn: empty };
  });
}

export const show = () => list.show();

function empty() {
  if (!$("conversations").children.length) $("conversations-said").replaceChildren("There is none yet: a question under ", el("a", { href: "#ask" }, "Ask"), " begins one.");
}

function row(conversation) {
  const { id, title, turns, changed } = conversation;
  const { pipeline, contextId } = chosen();
  const open = route("ask", pipeline, contextId, id);
  const line = el("li", { class: "row between" },
    el("div", {},
      el("a", { href: open }, alone(title || id)),
      el("span", { class: "hint" }, `${counted(turns, "question")} · ${when(changed)}`)),
    el("button", { type: "button", class: "quiet small", "aria-label": `Delete ${title || id}`, onclick: () => remove(line, conversation) }, "Delete"));
  return line;
}

async function remove(line, { id, title, turns }) {
  if (!await sure("Delete", `“${title || id}”`, `${counted(turns, "question")} with the answers: they cannot be had back.`)) return;
  await trying("conversations-said", async () => {
    await call("DELETE", `/conversations/${encodeURIComponent(id)}`);
    line.remove();
    $("conversations-said").replaceChildren("Deleted.");
    empty();
    $("conversations-title").focus();
  });
}
