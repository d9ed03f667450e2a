// The items of a context: paged through, found by words and tags, read whole, tagged.

import { call } from "../api.js";
import { $, alone, counted, el, joined, route, trying } from "../dom.js";
import { Paged } from "../paged.js";
import { may } from "../session.js";

let context = "";
let list;
let item = null;
const rows = new Map();
const tags = new Set();

export function begin() {
  $("find").addEventListener("submit", (event) => { event.preventDefault(); show(); });
  for (const field of ["words", "tag"]) $(field).addEventListener("search", () => { if (!$(field).value) show(); });
  list = new Paged("items", found);
  $("item").addEventListener("close", closed);
  $("item-tag").addEventListener("submit", (event) => {
    event.preventDefault();
    tag({ add: [$("item-new").value.trim()] });
    $("item-new").value = "";
  });
}

export async function show(name = context) {
  if (name !== context) {
    context = name;
    tags.clear();
    $("words").value = $("tag").value = "";
  }
  rows.clear();
  await list.show();
}

const path = (rest) => `/contexts/${encodeURIComponent(context)}${rest}`;

async function found(after) {
  const [words, tag] = [$("words").value.trim(), $("tag").value.trim()];
  $("items-title").replaceChildren(...(words || tag ? ["Found for ", ...joined(words && `“${words}”`, tag && `tag ${tag}`)] : []));
  const told = words ? await search(words, tag) : await call("GET", path(`/items?limit=50${after}${tag && `&tag=${encodeURIComponent(tag)}`}`));
  return { next: told.next, rows: () => told.items.map(keep), drawn: () => drawn(words || tag) };
}

async function search(query, tag) {
  const { found: ranked } = await call("POST", path("/search"), { query, limit: 50, tags: tag ? [tag] : [] });
  return { items: ranked.map(({ score, item: each }) => ({ ...each, score })), next: null };
}

function drawn(wanted) {
  $("tags").replaceChildren(...[...tags].sort().map((value) => el("option", { value })));
  if (rows.size) return;
  if (wanted) $("items-said").replaceChildren("Nothing was found: try other words, or no tag.");
  else $("items-said").replaceChildren("Nothing is in it yet", ...(may("admin") ? [": ", el("a", { href: route("contexts", context, "documents") }, "add documents")] : []), ".");
}

// Its row, which takes the place of the one before.
function keep(each) {
  each.tags.forEach((name) => tags.add(name));
  const line = row(each);
  rows.get(each.id)?.replaceWith(line);
  rows.set(each.id, line);
  return line;
}

function row(each) {
  const about = joined(each.source || each.id, each.score !== undefined && `relevance ${each.score.toPrecision(3)}`);
  const chips = each.tags.map((name) => el("button", {
    type: "button", class: "chip", title: "Show the items with this tag", onclick: () => { $("tag").value = name; show(); },
  }, alone(name)));
  return el("li", {},
    el("a", { href: route("contexts", context, "items", each.id) }, alone(each.title || each.id)),
    el("span", { class: "hint" }, ...about), ...(chips.length ? [el("div", { class: "chips" }, ...chips)] : []));
}

// One item, whole.

const itemPath = (id) => path(`/items/${encodeURIComponent(id)}`);

export async function open(id) {
  const found = await trying("items-said", () => call("GET", itemPath(id)));
  if (!found || $("item").open) return;
  draw(found);
  $("item-said").replaceChildren();
  $("item").showModal();
  $("item-text").scrollTop = 0;
  $("item-text").focus();
}

function draw(found) {
  item = found;
  $("item-title").textContent = found.title || found.id;
  $("item-about").replaceChildren(...joined(found.source || found.id, found.kind, counted(found.text.length, "character"), ...place(found.metadata)));
  $("item-text").textContent = found.text;
  $("item-text").classList.toggle("code", found.kind === "code");
  $("item-tags").replaceChildren(...found.tags.map((name) => el("li", { class: "chip" }, alone(name), el(
    "button", { type: "button", class: "cross for-admin", "aria-label": `Remove tag ${name}`, onclick: () => tag({ remove: [name] }) }, "×",
  ))));
}

// The page of a document that it begins on, or its line.
const place = (metadata) => ["page", "line"].filter((name) => Number.isInteger(metadata[name])).slice(0, 1).map((name) => `${name} ${metadata[name]}`);

async function tag(change) {
  await trying("item-said", async () => {
    await call("POST", path("/tags"), { ids: [item.id], ...change });
    draw(await call("GET", itemPath(item.id)));
    if (rows.has(item.id)) keep(item);
    $("item-said").replaceChildren(change.add ? "Added." : "Removed.");
    $("item-new").focus();
  });
}

// Back to the list, with the focus where the item was opened.
function closed() {
  if (location.hash.includes("/items/")) history.replaceState(null, "", route("contexts", context));
  (rows.get(item.id)?.querySelector("a") || $("opened-name")).focus();
}
