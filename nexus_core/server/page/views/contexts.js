// Contexts: what there is, made and deleted, and which part of which one is seen.

import { call } from "../api.js";
import { sure } from "../dialogs.js";
import { $, alone, counted, el, figure, joined, route, size, trying } from "../dom.js";
import { may } from "../session.js";
import * as documents from "./documents.js";
import * as items from "./items.js";

const PARTS = { items, documents };
let wanted = "";
let opened = null;
let seen = "";

export function begin() {
  $("create").addEventListener("submit", (event) => { event.preventDefault(); create(); });
  $("delete-context").addEventListener("click", remove);
  items.begin();
  documents.begin(changed);
}

export async function show([name = "", part = "items", item = ""]) {
  wanted = name;
  const known = await list();
  if (!known || wanted !== name) return;
  const context = known.find((each) => each.name === name);
  $("opened").hidden = !context;
  if (!context) {
    opened = null;
    seen = "";
    if (name) $("contexts-said").replaceChildren(el("p", { class: "problem" }, "There is no context ", alone(`“${name}”`), " here any more."));
    return;
  }
  const shown = part in PARTS ? part : "items";
  for (const each of Object.keys(PARTS)) {
    $(`part-${each}`).hidden = each !== shown;
    const link = $(`to-${each}`);
    link.href = route("contexts", name, ...(each === "items" ? [] : [each]));
    if (each === shown) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  // Where only an item is opened or closed, the list stays as it is, and the focus with it.
  const now = `${shown} ${name}`;
  const isNew = now !== seen;
  seen = now;
  if (opened !== name) $("opened-name").focus();
  opened = name;
  if (isNew) await Promise.all([describe(), PARTS[shown].show(name)]);
  if (shown === "items" && item) await items.open(item);
}

async function list() {
  return await trying("contexts-said", async () => {
    const { contexts } = await call("GET", "/contexts");
    $("contexts").replaceChildren(...contexts.map((context) => row(context, context.name === wanted)));
    if (!contexts.length) $("contexts-said").replaceChildren(may("admin") ? "There is none yet: give the first one a name." : "There is none yet that this key may see.");
    const context = contexts.find((each) => each.name === wanted);
    if (context) {
      $("opened-name").textContent = wanted;
      $("opened-about").textContent = context.description;
      $("ask-this").href = route("ask", "-", wanted);
      $("to-items").textContent = `Items (${figure(context.items)})`;
    }
    return contexts;
  });
}

// How large the context that is open is, how it is searched, and how far its vectors are.
async function describe() {
  const name = wanted;
  await trying("opened-figures", async () => {
    const told = await call("GET", `/contexts/${encodeURIComponent(name)}`);
    if (name !== wanted) return;
    const { documents: { count, size: bytes, skipped, remarked }, vectors, embedder, language } = told;
    $("to-documents").textContent = `Documents (${figure(count)})`;
    const lacking = vectors ? vectors.total - vectors.items : 0;
    const meaning = embedder && (lacking ? `by meaning, too, once ${figure(lacking)} of ${counted(vectors.total, "item")} have their vectors (${embedder})` : `by words and by meaning (${embedder})`);
    $("opened-figures").replaceChildren(...joined(count && `${counted(count, "document")}, ${size(bytes)}`, skipped && counted(skipped, "skipped file"), language !== "auto" && language, `searched ${meaning || "by words"}`));
    documents.offer(remarked);
  });
}

async function changed() {
  await list();
  await describe();
}

function row({ name, items: count }, isOpen) {
  const link = el("a", { href: route("contexts", name) }, alone(name), el("span", { class: "hint" }, counted(count, "item")));
  if (isOpen) link.setAttribute("aria-current", "true");
  return el("li", {}, link);
}

async function create() {
  const name = $("name").value.trim();
  if (!name) return;
  await trying("contexts-said", async () => {
    await call("POST", "/contexts", { name });
    $("name").value = "";
    location.hash = route("contexts", name, "documents");
  });
}

async function remove() {
  const name = opened;
  const context = await trying("contexts-said", () => call("GET", `/contexts/${encodeURIComponent(name)}`));
  if (!context) return;
  const lost = `Lost are its ${counted(context.items, "item")} with their tags, and all that was uploaded to it. It cannot be had back.`;
  if (!await sure("Delete", `“${name}”`, lost)) return;
  await trying("contexts-said", async () => {
    await call("DELETE", `/contexts/${encodeURIComponent(name)}`);
    location.hash = "#contexts";
    $("contexts-title").focus();
  });
}
