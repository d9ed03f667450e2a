// The documents of a context: sent, listed, removed; and what was not read, and why.

import { call, upload as sent } from "./api.js";
import { sure } from "./dialogs.js";
import { $, alone, counted, el, joined, problem, size, trying } from "./dom.js";
import { Paged } from "./paged.js";

let context = "";
let list;
let skipped;
let changed = () => {};

export function begin(onChange) {
  changed = onChange;
  $("files").addEventListener("change", () => { take([...$("files").files]); $("files").value = ""; });
  list = new Paged("documents", async (after) => {
    const { documents, next } = await call("GET", path(context, `?limit=100${after}`));
    return { next, rows: () => documents.map(row), drawn: count };
  });
  skipped = new Paged("skipped", async (after) => {
    const told = await call("GET", `/contexts/${encodeURIComponent(context)}/skipped?limit=100${after}`);
    return { next: told.next, rows: () => told.skipped.map(left), drawn: countSkipped };
  });
  const drop = $("drop");
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); take([...event.dataTransfer.files]); });
  // A file that misses the place to drop it would otherwise take the place of the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
}

export async function show(name) {
  if (context !== name) $("uploads").replaceChildren();
  context = name;
  await list.show();
  await skipped.show();
}

const path = (name, rest = "") => `/contexts/${encodeURIComponent(name)}/documents${rest}`;

function count() {
  const found = $("documents").children.length;
  $("documents-title").textContent = found ? `${counted(found, "document")}${list.next === null ? "" : ", and more"}` : "No documents yet";
}

function countSkipped() {
  const found = $("skipped").children.length;
  $("skipped-title").textContent = found ? `${counted(found, "skipped file")}${skipped.next === null ? "" : ", and more"}` : "";
}

const left = ({ name, reason }) => el("li", { class: "row" }, el("div", {}, el("span", {}, alone(name)), el("span", { class: "hint" }, reason)));

function row({ name, origin, size: bytes }) {
  const line = el("li", { class: "row between" },
    el("div", {}, el("span", {}, alone(name)), el("span", { class: "hint" }, ...joined(size(bytes), origin === `upload ${name}` ? "uploaded" : origin && `from ${origin}`))),
    el("button", { type: "button", class: "quiet small for-admin", "aria-label": `Remove ${name}`, onclick: () => remove(line, name) }, "Remove"));
  return line;
}

async function remove(line, name) {
  const from = context;
  if (!await sure("Remove", `“${name}”`, "Its items leave this context, with their tags. The file that it was read from stays.")) return;
  await trying("documents-said", async () => {
    await call("DELETE", path(from, `/${encodeURIComponent(name)}`));
    line.remove();
    count();
    $("documents-title").focus();
    await changed();
  });
}

// One after the other: a server takes them in turn anyway, and each has its own outcome. They all go where they were
// dropped, also if another context is opened meanwhile.
async function take(files) {
  const to = context;
  const lines = files.map((file) => el("li", {}, alone(file.name), ": waits"));
  $("uploads").replaceChildren(...lines);
  for (const [place, file] of files.entries()) {
    const line = lines[place];
    line.replaceChildren(alone(file.name), `: on its way (${size(file.size)})`);
    try {
      const told = await send(to, file, (share) => {
        const state = share < 1 ? `${Math.round(share * 100)} % of ${size(file.size)}` : "is being read";
        line.replaceChildren(alone(file.name), `: ${state}`, el("progress", { max: 1, value: share, "aria-label": file.name }));
      });
      line.replaceChildren(alone(file.name), `: ${outcome(told)}`);
      line.className = told.failed.length ? "cut" : "kept";
    } catch (error) {
      line.replaceChildren(...(error.message.includes(file.name) ? [] : [alone(file.name)]), problem(error));
      line.className = "dropped";
    }
  }
  await changed();
  if (to === context) await list.show();
}

export function send(to, file, onShare) {
  const form = new FormData();
  form.append("file", file, file.name);
  return sent(path(to), form, onShare);
}

function outcome(told) {
  const { new: added, changed: other, unchanged, removed } = told.items;
  const counts = [[added, "new"], [other, "changed"], [unchanged, "as before"], [removed, "removed"]];
  const items = counts.filter(([found]) => found).map(([found, what]) => `${found} ${what}`).join(", ");
  const said = told.unchanged ? "is there already, unchanged" : `items: ${items || "none"}`;
  return [said, ...[...told.failed, ...told.remarks].map(({ reason }) => reason)].join("; ");
}
