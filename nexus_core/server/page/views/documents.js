// The documents of a context: sent, listed with their items and what is missing, removed; and what was not read, and why.

import { call, upload } from "../api.js";
import { sure } from "../dialogs.js";
import { $, alone, counted, el, figure, joined, problem, route, size, trying } from "../dom.js";
import { Paged } from "../paged.js";

const PAUSE_MS = 250; // After the last letter of a name that is searched.
const AT_ONCE = 3; // Remarks of a document that are seen without a click.

let context = "";
let list;
let skipped;
let changed = () => {};
let pause = 0;

export function begin(onChange) {
  changed = onChange;
  $("files").addEventListener("change", () => { take([...$("files").files]); $("files").value = ""; });
  $("only-remarked").addEventListener("change", () => list.show());
  $("document-words").addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => list.show(), PAUSE_MS);
  });
  list = new Paged("documents", async (after) => {
    const { documents, next } = await call("GET", path(context, `?limit=100${after}${$("only-remarked").checked ? "&only=remarked" : ""}${words() && `&search=${encodeURIComponent(words())}`}`));
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
}

export async function show(name) {
  if (context !== name) {
    $("uploads").replaceChildren();
    $("only-remarked").checked = false;
    $("document-words").value = "";
  }
  context = name;
  await Promise.all([list.show(), skipped.show()]);
}

// Those of which something is said alone, where there are any.
export function offer(remarked) {
  $("remarked").hidden = !remarked && !$("only-remarked").checked;
  $("remarked-count").textContent = `Only the ${counted(remarked, "document")} with remarks`;
}

const path = (name, rest = "") => `/contexts/${encodeURIComponent(name)}/documents${rest}`;

const words = () => $("document-words").value.trim();

function count() {
  const found = $("documents").children.length;
  $("documents-title").textContent = found ? `${counted(found, "document")}${list.next === null ? "" : ", and more"}` : words() ? "No document has this in its name" : "No documents yet";
}

function countSkipped() {
  const found = $("skipped").children.length;
  $("skipped-title").textContent = found ? `${counted(found, "skipped file")}${skipped.next === null ? "" : ", and more"}` : "";
}

const badge = (state) => el("span", { class: `badge ${state}` }, state);

// What to do about one that was not read: an upload is not kept, and has to be sent again.
function left({ name, origin, reason, size: bytes, state }) {
  const isSent = origin === `upload ${name}`;
  const next = isSent ? "send it again once it is mended, or in another format" : state === "failed" ? "tried again with the next reading" : "tried again once it has changed";
  const line = el("li", { class: "row between" },
    el("div", {},
      el("span", {}, alone(name), " ", badge(state)),
      el("span", { class: "hint" }, ...joined(reason, bytes && size(bytes), isSent && "uploaded", next))),
    isSent && el("button", { type: "button", class: "quiet small for-admin", "aria-label": `Forget ${name}`, onclick: () => forget(line, name) }, "Forget"));
  return line;
}

async function forget(line, name) {
  await trying("skipped-said", async () => {
    await call("DELETE", path(context, `/${encodeURIComponent(name)}`));
    line.remove();
    countSkipped();
    $("documents-title").focus();
    await changed();
  });
}

function row({ name, origin, size: bytes, items, state, withoutVectors, reader, problems, remarks }) {
  const from = origin === `upload ${name}` ? "uploaded" : origin && `from ${origin}`;
  const waits = withoutVectors && `${figure(withoutVectors)} still to be found by meaning`;
  const line = el("li", { class: "row between" },
    el("div", {},
      el("span", {}, alone(name), " ", badge(state)),
      el("span", { class: "hint" }, ...joined(counted(items, "item"), size(bytes), from, waits, reader && `read by ${reader}`)),
      said(problems, "incomplete"), said(remarks, "hint")),
    el("button", { type: "button", class: "quiet small for-admin", "aria-label": `Remove ${name}`, onclick: () => remove(line, name) }, "Remove"));
  return line;
}

function said(texts, kind) {
  if (!texts.length) return null;
  const lines = (some) => el("ul", { class: `remarks ${kind}` }, ...some.map((text) => el("li", {}, alone(text))));
  if (texts.length <= AT_ONCE) return lines(texts);
  return el("details", { class: kind }, el("summary", {}, counted(texts.length, "remark")), lines(texts));
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
  if (!files.length) return;
  const to = context;
  const lines = files.map((file) => el("li", {}, alone(file.name), ": waits"));
  const all = el("li", { class: "hint" });
  $("uploads").replaceChildren(all, ...lines);
  let taken = 0;
  for (const [place, file] of files.entries()) {
    if (files.length > 1) all.textContent = `File ${place + 1} of ${figure(files.length)}`;
    const line = lines[place];
    line.replaceChildren(alone(file.name), `: on its way (${size(file.size)})`);
    try {
      const told = await upload(to, file, (share) => {
        const state = share < 1 ? `${Math.round(share * 100)} % of ${size(file.size)}` : "is being read";
        line.replaceChildren(alone(file.name), `: ${state}`, el("progress", { max: 1, value: share, "aria-label": file.name }));
      });
      line.replaceChildren(alone(file.name), `: ${outcome(told)}`);
      line.className = told.failed.length ? "cut" : "kept";
      taken += told.read + told.unchanged;
    } catch (error) {
      line.replaceChildren(...(error.message.includes(file.name) ? [] : [alone(file.name)]), problem(error));
      line.className = "dropped";
    }
  }
  if (taken) all.replaceChildren(`${figure(taken)} of ${counted(files.length, "file")} can be asked about: `, el("a", { class: "button", href: route("ask", "-", to) }, "Ask about ", alone(to)));
  else all.textContent = "None of the files was taken.";
  if (to !== context) return await changed();
  return await Promise.all([changed(), list.show(), skipped.show()]);
}

function outcome(told) {
  const { new: added, changed: other, unchanged, removed } = told.items;
  const counts = [[added, "new"], [other, "changed"], [unchanged, "as before"], [removed, "removed"]];
  const items = counts.filter(([found]) => found).map(([found, what]) => `${found} ${what}`).join(", ");
  const said = told.unchanged ? "is there already, unchanged" : `items: ${items || "none"}`;
  return [said, ...[...told.failed, ...told.remarks].map(({ reason }) => reason)].join("; ");
}
