// Passages that answers cite: a preview, and the passage highlighted where it stands.

import { call } from "./api.js";
import { $, alone, el, joined, route } from "./dom.js";

const ITEMS = 200; // Of a document that is shown around a passage.
const PREVIEW = 320;

// `contextId` is empty where the items are in no context of the store; `words` are what the passage is to bear out.
export async function openPassage(passage, contextId = "", words = "") {
  hidePreview();
  $("passage-title").replaceChildren(`${passage.number}. `, alone(passage.title || passage.id));
  $("passage-about").replaceChildren(...joined(
    passage.source || passage.id,
    passage.place,
    passage.whole ? "the whole item" : "the part of it that was sent",
    `relevance ${passage.relevance.toPrecision(3)}`,
  ));
  $("passage-whole").hidden = !contextId;
  if (contextId) $("passage-whole").href = "./" + route("contexts", contextId, "items", passage.id);
  else $("passage-whole").removeAttribute("href");
  // Before the answer is there, its text is not.
  if (passage.text === undefined) show(["The passage is here once the answer is."]);
  else show(parts(passage.text, borne(passage.text, words)));
  $("passage").showModal();
  $("passage-text").scrollTop = 0;
  if (!contextId || passage.text === undefined) return;
  const shown = $("passage-title").textContent;
  const around = await documentOf(passage, contextId).catch(() => null); // The passage itself is there already.
  if (around && $("passage").open && $("passage-title").textContent === shown) show(whole(around, passage, words));
}

function show(nodes) {
  $("passage-text").replaceChildren(...nodes);
  const mark = $("passage-text").querySelector("mark");
  if (mark && $("passage").open) mark.scrollIntoView({ block: "center" });
}

// The items of the document that a passage is of, in their order; of what is in no document the item alone.
async function documentOf(passage, contextId) {
  const path = `/contexts/${encodeURIComponent(contextId)}/items`;
  if (passage.source) {
    const where = encodeURIComponent(JSON.stringify({ source: passage.source }));
    const { items } = await call("GET", `${path}?limit=${ITEMS}&where=${where}`);
    if (items.some(({ id }) => id === passage.id)) return items;
  }
  return passage.whole ? null : [await call("GET", `${path}/${encodeURIComponent(passage.id)}`)];
}

function whole(items, passage, words) {
  let page = null;
  return items.flatMap(({ id, text, metadata }) => {
    const begins = Number.isInteger(metadata.page) && metadata.page !== page;
    page = metadata.page ?? page;
    const at = text.indexOf(passage.text);
    const span = borne(passage.text, words);
    const own = id === passage.id && at >= 0
      ? parts(text, { from: at + span.from, to: at + span.to })
      : [text];
    return [...(begins ? [el("div", { class: "page" }, `Page ${metadata.page}`)] : []), el("div", { class: id === passage.id ? "own" : "" }, ...own)];
  });
}

const parts = (text, { from, to }) => [text.slice(0, from), el("mark", {}, text.slice(from, to)), text.slice(to)].filter((each) => each !== "");

const WORDS = /[\p{L}\p{N}]{2,}/gu;
const wordsOf = (text) => new Set(text.toLowerCase().match(WORDS) ?? []);

// The sentence of a passage that has most of the words; the whole passage where none stands out.
function borne(text, words) {
  const wanted = wordsOf(words);
  let best = { from: 0, to: text.length, share: 0 };
  let from = 0;
  for (const sentence of text.split(/(?<=[.!?\n])(?=\s)/)) {
    const own = wordsOf(sentence);
    const share = [...own].filter((word) => wanted.has(word)).length / Math.sqrt(own.size + 1);
    if (share > best.share) best = { from: from + sentence.search(/\S|$/), to: from + sentence.length, share };
    from += sentence.length;
  }
  return best.share ? best : { from: 0, to: text.length };
}

function hidePreview() {
  $("preview").hidden = true;
}

function preview(button) {
  const passage = button.passage();
  const about = joined(passage.source, passage.place);
  const text = passage.text ? passage.text.slice(0, PREVIEW) + (passage.text.length > PREVIEW ? " …" : "") : "";
  $("preview").replaceChildren(el("strong", {}, alone(passage.title || passage.id)), el("div", { class: "hint" }, ...about), el("div", { dir: "auto" }, text));
  $("preview").hidden = false;
  const { left, top, bottom } = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = $("preview");
  $("preview").style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  $("preview").style.top = `${bottom + height + 12 < innerHeight ? bottom + 6 : Math.max(8, top - height - 6)}px`;
}

export function begin() {
  const found = (event) => event.target.closest?.(".citation, .source");
  for (const kind of ["pointerover", "focusin"]) {
    $("thread").addEventListener(kind, (event) => {
      const button = found(event);
      if (button && (kind === "focusin" ? button.matches(":focus-visible") : event.pointerType === "mouse")) preview(button);
    });
  }
  for (const kind of ["pointerout", "focusout"]) $("thread").addEventListener(kind, (event) => { if (found(event)) hidePreview(); });
  addEventListener("scroll", hidePreview, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hidePreview(); });
}
