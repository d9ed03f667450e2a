// Your conversations: listed, found by words, opened, renamed, shared, kept as a file, deleted.

import { call } from "./api.js";
import { chosen } from "./choices.js";
import { sure } from "./dialogs.js";
import { $, alone, counted, el, route, trying, when } from "./dom.js";
import { Paged } from "./paged.js";

const SEARCHED = 8; // Fewer are seen at once.

let list;
let opened = "";

export function begin() {
  list = new Paged("conversations", async (after) => {
    const { conversations, next } = await call("GET", `/conversations?limit=100${after}`);
    return { next, rows: () => conversations.map(row), drawn };
  });
  $("conversation-words").addEventListener("input", find);
  $("import").addEventListener("change", async () => {
    const { take } = await files();
    const said = await take($("import").files);
    $("import").value = "";
    await refresh();
    $("conversations-said").replaceChildren(...said);
  });
}

// Draws the list anew; `id` is the one that is open.
export function refresh(id = opened) {
  opened = id;
  return list.show();
}

function drawn() {
  const found = $("conversations").children.length;
  $("conversation-words").hidden = found < SEARCHED;
  if (!found) $("conversations-said").replaceChildren("There is none yet: a question begins one.");
  find();
}

function find() {
  const words = $("conversation-words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...$("conversations").children];
  const has = (line, word) => line.querySelector("bdi").textContent.toLowerCase().includes(word);
  for (const line of rows) line.hidden = !words.every((word) => has(line, word));
  if (words.length) $("conversations-said").replaceChildren(rows.every((line) => line.hidden) ? "None of these: try other words, or More." : "");
}

const path = (id) => `/conversations/${encodeURIComponent(id)}`;

function row(conversation) {
  const { id, title, turns, changed } = conversation;
  const { pipeline, contextId } = chosen();
  const link = el("a", { href: route("ask", pipeline, contextId, id) }, alone(title || id), el("span", { class: "hint" }, `${counted(turns, "question")} · ${when(changed)}`));
  if (id === opened) link.setAttribute("aria-current", "true");
  const line = el("li", {}, link,
    act("delete", `Delete ${title || id}`, "×", () => remove(line, conversation)),
    act("rename", `Rename ${title || id}`, "✎", () => rename(line, conversation)),
    act("share", `Share ${title || id}`, "↗", () => trying("conversations-said", async () => (await import("./shared/link.js")).share(conversation))),
    act("export", `Save ${title || id} as a file`, "↓", () => trying("conversations-said", async () => (await files()).save(conversation))));
  return line;
}

const files = () => import("./shared/files.js");

const act = (name, label, sign, onclick) => el("button", { type: "button", class: `quiet small ${name}`, "aria-label": label, title: label, onclick }, sign);

// Its title becomes a field: Enter keeps what is written, Escape and leaving it do not.
function rename(line, conversation) {
  const { id, title } = conversation;
  const field = el("input", { value: title, maxLength: 200, autocomplete: "off", "aria-label": `New title of ${title || id}` });
  const again = (told, focus) => {
    if (!form.isConnected) return;
    const drawn = row(told);
    form.onsubmit = field.onblur = null;
    form.parentElement.replaceWith(drawn);
    if (focus) drawn.querySelector(".rename").focus();
    find();
  };
  const form = el("form");
  form.onsubmit = (event) => {
    event.preventDefault();
    field.onblur = null;
    trying("conversations-said", async () => again(await call("PATCH", path(id), { title: field.value }), true));
  };
  field.onkeydown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    again(conversation, true);
  };
  field.onblur = () => again(conversation, false);
  form.append(field);
  line.replaceChildren(form);
  field.select();
}

async function remove(line, { id, title, turns }) {
  if (!await sure("Delete", `“${title || id}”`, `${counted(turns, "question")} with the answers: they cannot be had back.`)) return;
  await trying("conversations-said", async () => {
    await call("DELETE", path(id));
    line.remove();
    $("conversations-said").replaceChildren("Deleted.");
    drawn();
    if (id === opened) $("fresh").click();
    $("conversations-title").focus();
  });
}
