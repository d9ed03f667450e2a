// Your conversations: listed, found by words, opened, renamed, shared, kept as a file, deleted.

import { call } from "./api.js";
import { chosen } from "./choices.js";
import { sure } from "./dialogs.js";
import { $, alone, counted, el, route, trying, when } from "./dom.js";
import { Paged } from "./paged.js";

const PAUSE_MS = 250; // After the last letter that is written, before it is searched for.

let list;
let opened = "";
let pause = 0;

export function begin() {
  list = new Paged("conversations", page);
  $("conversation-words").addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => list.show(), PAUSE_MS);
  });
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

const words = () => $("conversation-words").value.trim();

// One look of the server goes through so many conversations at most: it may find none, and there may be more.
async function page(after) {
  const wanted = words();
  const search = wanted && `&search=${encodeURIComponent(wanted)}`;
  let told = await call("GET", `/conversations?limit=100${search}${after}`);
  while (!told.conversations.length && told.next !== null && wanted === words()) {
    told = await call("GET", `/conversations?limit=100${search}&after=${encodeURIComponent(told.next)}`);
  }
  return { next: told.next, rows: () => told.conversations.map(row), drawn };
}

function drawn() {
  const found = $("conversations").children.length;
  $("conversation-words").hidden = !found && !words();
  if (!found) $("conversations-said").replaceChildren(words() ? "None has these words, as they are, in its title, questions or answers." : "There is none yet: a question begins one.");
}

const path = (id) => `/conversations/${encodeURIComponent(id)}`;

function row(conversation) {
  const { id, title, turns, changed, excerpt } = conversation;
  const { pipeline, contextId } = chosen();
  const link = el("a", { href: route("ask", pipeline, contextId, id) }, alone(title || id), el("span", { class: "hint" }, `${counted(turns, "question")} · ${when(changed)}`),
    excerpt ? el("span", { class: "hint excerpt", dir: "auto" }, excerpt.before, el("mark", {}, excerpt.words), excerpt.after) : null);
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
  };
  const form = el("form");
  form.onsubmit = (event) => {
    event.preventDefault();
    field.onblur = null;
    trying("conversations-said", async () => again({ ...conversation, ...await call("PATCH", path(id), { title: field.value }) }, true));
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
