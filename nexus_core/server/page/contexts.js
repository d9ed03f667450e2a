// Contexts: what there is, what is in it, and the upload of documents.

import { call } from "./api.js";
import { $, el, figure, problem } from "./dom.js";

const PAGE = 50;
let openPassage = () => {};
let opened = null;
let next = null;
let drawn = 0;

export function begin(open) {
  openPassage = open;
  $("create").addEventListener("submit", (event) => { event.preventDefault(); create(); });
  $("find").addEventListener("submit", (event) => { event.preventDefault(); list(); });
  $("words").addEventListener("search", () => { if (!$("words").value) list(); });
  $("files").addEventListener("change", () => { upload([...$("files").files]); $("files").value = ""; });
  $("more").addEventListener("click", () => add());
  const drop = $("drop");
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); upload([...event.dataTransfer.files]); });
  // A file that misses the place to drop it would otherwise take the place of the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
}

export async function refresh() {
  try {
    const { contexts } = await call("GET", "/contexts");
    $("contexts").replaceChildren(...contexts.map((context) => el("li", {}, el(
      "button",
      { type: "button", onclick: () => show(context.name), ...(context.name === opened ? { "aria-current": "true" } : {}) },
      el("span", {}, context.name), el("span", { class: "hint" }, `${figure(context.items)} items`),
    ))));
    $("contexts-said").replaceChildren(contexts.length ? "" : "There is none yet.");
  } catch (error) {
    $("contexts-said").replaceChildren(problem(error));
  }
}

async function create() {
  const name = $("name").value.trim();
  if (!name) return;
  try {
    await call("POST", "/contexts", { name });
    $("name").value = "";
    await show(name);
  } catch (error) {
    $("contexts-said").replaceChildren(problem(error));
  }
}

async function show(name) {
  opened = name;
  $("opened").hidden = false;
  $("opened-name").textContent = name;
  $("words").value = "";
  $("uploads").replaceChildren();
  await refresh();
  $("opened-name").focus();
  await list();
}

const path = (rest) => `/contexts/${encodeURIComponent(opened)}${rest}`;

async function list() {
  next = null;
  drawn += 1;
  $("items").replaceChildren();
  await add();
}

async function add() {
  const words = $("words").value.trim();
  const mine = drawn;
  $("items-title").textContent = words ? `Found for “${words}”` : "Items";
  try {
    const found = words ? await search(words) : await call("GET", path(`/items?limit=${PAGE}&after=${next ?? 0}`));
    if (mine !== drawn) return;
    $("items").append(...found.items.map(row));
    next = found.next;
    $("more").hidden = next === null;
    $("items-said").replaceChildren($("items").children.length ? "" : words ? "Nothing was found: try other words." : "Nothing is in it yet.");
  } catch (error) {
    $("items-said").replaceChildren(problem(error));
  }
}

async function search(words) {
  const { found } = await call("POST", path("/search"), { query: words, limit: PAGE });
  return { items: found.map(({ score, item }) => ({ ...item, score })), next: null };
}

function row(item) {
  const about = [item.source || item.id, ...item.tags, item.score === undefined ? "" : `relevance ${item.score.toPrecision(3)}`];
  const passage = { ...item, relevance: item.score, whole: true };
  return el("li", {},
    el("button", { type: "button", class: "link", onclick: () => openPassage(passage) }, item.title || item.id),
    el("span", { class: "hint" }, about.filter(Boolean).join(" · ")));
}

// One after the other: a server takes them in turn anyway, and each has its own outcome.
async function upload(files) {
  const lines = files.map((file) => el("li", {}, `${file.name}: waits`));
  $("uploads").replaceChildren(...lines);
  for (const [place, file] of files.entries()) {
    lines[place].replaceChildren(`${file.name}: on its way`);
    try {
      lines[place].replaceChildren(`${file.name}: ${outcome(await send(file))}`);
    } catch (error) {
      lines[place].replaceChildren(error.message.includes(file.name) ? "" : `${file.name}: `, problem(error));
    }
  }
  await refresh();
  await list();
}

function send(file) {
  const form = new FormData();
  form.append("file", file, file.name);
  return call("POST", path("/documents"), form);
}

function outcome(told) {
  const { new: added, changed, unchanged, removed } = told.items;
  const counts = [[added, "new"], [changed, "changed"], [unchanged, "as before"], [removed, "removed"]];
  const items = counts.filter(([count]) => count).map(([count, what]) => `${figure(count)} ${what}`).join(", ");
  const said = told.unchanged ? "is there already, unchanged" : `items: ${items || "none"}`;
  return [said, ...[...told.failed, ...told.remarks].map(({ reason }) => reason)].join("; ");
}
