// Files of a question: images and PDF files are asked about once, or whatever can be read is added to the context.

import { upload } from "./api.js";
import { takes } from "./choices.js";
import { $, alone, el, problem, size } from "./dom.js";

const KINDS = ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"];
const MOST = 20 * 2 ** 20;
let files = [];

// `target` gives the context that files may be added to, or an empty text.
export function begin(target) {
  const take = (found) => { for (const file of found) add(file, target()); };
  $("attach").addEventListener("change", () => { take($("attach").files); $("attach").value = ""; });
  $("query").addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) { event.preventDefault(); take(event.clipboardData.files); }
  });
  const place = $("view-ask");
  place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) place.addEventListener(kind, () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files); $("query").focus(); });
}

function add(file, context) {
  const known = KINDS.includes(file.type) && file.size <= MOST;
  const can = known && takes(file.type.startsWith("image/") ? "vision" : "files");
  const why = known ? "no model here takes it" : "only PNG, JPEG, GIF, WebP and PDF up to 20 MB can be asked about once";
  const line = el("li", { class: "chip" });
  const drop = () => { files = files.filter((each) => each.file !== file); line.remove(); };
  const cross = el("button", { type: "button", class: "cross", "aria-label": `Leave out ${file.name}`, onclick: drop }, "×");
  const says = (...what) => line.replaceChildren(alone(file.name), " ", el("span", { class: "hint" }, ...what), cross);
  const keep = async () => {
    files = files.filter((each) => each.file !== file);
    says(`is read into ${context} …`);
    try {
      const told = await upload(context, file, (share) => says(share < 1 ? `${Math.round(share * 100)} % of ${size(file.size)}` : `is read into ${context} …`));
      says(told.failed[0]?.reason ?? `is in ${context}: ask about it`);
      $("query").focus();
    } catch (error) {
      line.replaceChildren(problem(error), cross);
    }
  };
  if (can) files.push({ file, line });
  says(can ? `${size(file.size)}, asked about once` : `${size(file.size)}${context ? "" : `: ${why}`}`);
  if (context) cross.before(el("button", { type: "button", class: "link", onclick: keep }, "Add to ", alone(context)));
  $("attached").append(line);
  if (!can && context) keep();
}

export const names = () => files.map(({ file }) => file.name);

// What goes with the next question, and with no other.
export async function taken() {
  const found = files;
  files = [];
  $("attached").replaceChildren();
  return await Promise.all(found.map(async ({ file }) => ({ data: await base64(file), mediaType: file.type, filename: file.name })));
}

const base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});
