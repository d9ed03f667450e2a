// Files of a question, asked about once: a model is shown what it takes itself, all else is read as text by the server. Or
// whatever can be read is added to the context.

import { upload } from "./api.js";
import { takes } from "./choices.js";
import { $, alone, el, problem, size } from "./dom.js";

const KINDS = ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"];
const MOST = 16; // Files of one question.
const SHOWN = 700_000; // Bytes that a model is shown: in base64 they go in a body of 1 MiB.
const READ = 32 * 2 ** 20; // Bytes that are read.
const USES = { shown: "shown to the model", read: "read as text" };
let files = []; // Each with its line, and whether it is "shown" or "read".
let target = () => "";
let changed = () => {};

// `context` gives that which files may be added to, or an empty text; `tell` is told whether files are read.
export function begin(context, tell) {
  target = context;
  changed = () => tell(areRead(files));
  const take = (found) => { for (const file of found) add(file); };
  $("attach").addEventListener("change", () => { take($("attach").files); $("attach").value = ""; });
  $("query").addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) { event.preventDefault(); take(event.clipboardData.files); }
  });
  const place = $("view-ask");
  place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) place.addEventListener(kind, () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files); $("query").focus(); });
}

const filled = (use, file) => files.reduce((sum, each) => sum + (each.use === use ? each.file.size : 0), file.size);

// How a file goes with the question, or why it does not.
function useOf(file) {
  const isImage = file.type.startsWith("image/");
  const isTaken = KINDS.includes(file.type) && takes(isImage ? "vision" : "files");
  if (!file.size) return { why: "it is empty" };
  if (files.length === MOST) return { why: `at most ${MOST} files go with one question` };
  if (isTaken && filled("shown", file) <= SHOWN) return { use: "shown" };
  if (isImage) return { why: isTaken ? `models are shown at most ${size(SHOWN)} with one question` : "no model here takes it" };
  if (filled("read", file) > READ) return { why: `at most ${size(READ)} are read for one question` };
  return { use: "read" };
}

// `wrong` is what is wrong with one that comes back.
function add(file, wrong = "") {
  const context = target();
  const { use, why } = useOf(file);
  const line = el("li", { class: "chip" });
  const leave = () => { files = files.filter((each) => each.line !== line); changed(); };
  const drop = () => { leave(); line.remove(); $("query").focus(); };
  const cross = el("button", { type: "button", class: "cross", "aria-label": `Leave out ${file.name}`, onclick: drop }, "×");
  const says = (what, isWrong) => line.replaceChildren(alone(file.name), " ", el("span", { class: isWrong ? "wrong" : "hint" }, what), cross);
  const keep = async () => {
    leave();
    says(`is read into ${context} …`);
    try {
      const told = await upload(context, file, (share) => says(share < 1 ? `${Math.round(share * 100)} % of ${size(file.size)}` : `is read into ${context} …`));
      says(told.failed[0]?.reason ?? `is in ${context}: ask about it`);
      $("query").focus();
    } catch (error) {
      line.replaceChildren(problem(error), cross);
    }
  };
  if (use) files.push({ file, use, line });
  says(`${size(file.size)}, ${wrong || why || USES[use]}`, wrong || why);
  if (!use) $("said").replaceChildren(`${file.name}: ${why}`);
  if (context) cross.before(" ", el("button", { type: "button", class: "link", "aria-label": `Add to ${context}: ${file.name}`, onclick: keep }, "Add to ", alone(context)));
  $("attached").append(line);
  changed();
}

// What goes with the next question, and with no other.
export function take() {
  const found = files;
  files = [];
  $("attached").replaceChildren();
  changed();
  return found;
}

// Brings files back that were taken: of a question that is changed, or was not asked after all.
export function restore(found, message = "") {
  for (const { file } of found) add(file, message.includes(file.name) ? "cannot be read" : "");
}

export const areRead = (found) => found.some(({ use }) => use === "read");

// The fields of a question.
export async function fields(found) {
  const told = { attachments: [], documents: [] };
  for (const { file, use } of found) {
    const data = await base64(file);
    if (use === "shown") told.attachments.push({ data, mediaType: file.type, filename: file.name });
    else told.documents.push({ name: file.name, data });
  }
  return Object.fromEntries(Object.entries(told).filter(([, each]) => each.length));
}

const base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(new Error(`${file.name} can be read no more: it was moved or changed, or is a folder.`));
  reader.readAsDataURL(file);
});
