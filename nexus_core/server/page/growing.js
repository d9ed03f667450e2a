// An answer that is growing: drawn once a frame as Markdown, and told to screen readers by sentences.

import { $, el } from "./dom.js";
import { load, Markdown } from "./markdown.js";

const SENTENCES = 100; // Fewer characters are not told apart.
const SLICE_MS = 8; // Of work on a conversation that is opened, before the browser draws.

export class Growing {
  text = "";
  end = null;
  #markdown = null;
  #plain = 0;
  #told = 0;
  #frame = 0;
  #citations;

  constructor(place, citations) {
    this.#citations = citations;
    this.place = place;
    this.node = el("div", { class: "md text growing" });
    place.replaceChildren(this.node);
    load().then(() => this.#begin(), () => {}); // Without the parser it stays the text that it is.
  }

  take(event) {
    if (event.type === "chunk") this.text += event.content.replaceAll("\r", "");
    else if (event.type === "restart") this.#clear();
    else if (event.type === "end") this.end = event;
    this.#next();
  }

  // Draws what is left, a piece at a time, and ends.
  async stop() {
    await load().catch(() => {});
    cancelAnimationFrame(this.#frame);
    this.#frame = -1;
    while (this.#draw(true)) await pause();
    this.#tell(0);
    this.node.classList.remove("growing");
  }

  // What is whole already is not read out.
  told() {
    this.#told = this.text.length;
  }

  #next() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#draw(false)) this.#next();
      this.#tell(SENTENCES);
    });
  }

  #draw(isWhole) {
    if (this.#markdown) return this.#markdown.draw(this.text, isWhole);
    this.node.append(this.text.slice(this.#plain));
    this.#plain = this.text.length;
    return false;
  }

  #begin() {
    this.node.replaceChildren();
    this.#markdown = new Markdown(this.node, (numbers, raw) => this.#citations.drawn(numbers, raw));
    if (this.text) this.#next();
  }

  #clear() {
    this.text = "";
    this.#plain = this.#told = 0;
    if (this.#markdown) this.#begin();
    else this.node.replaceChildren();
    $("said").replaceChildren("The answer begins anew.");
  }

  #tell(least) {
    const rest = this.text.slice(this.#told);
    if (rest.length <= least) return;
    const end = least ? Math.max(rest.lastIndexOf(". "), rest.lastIndexOf("\n")) + 1 : rest.length;
    if (end) $("said").append(el("p", {}, rest.slice(0, end)));
    this.#told += end;
  }
}

// Lets the browser draw, and take what was pressed.
export const pause = () => new Promise((resolve) => { setTimeout(resolve); });

// Work that is cut, so that the browser draws between: over after `SLICE_MS`.
export class Slice {
  #began = performance.now();

  get isOver() {
    return performance.now() - this.#began > SLICE_MS;
  }

  async next() {
    await pause();
    this.#began = performance.now();
  }
}

// Lays out once what is out of sight, the latest first, so that the browser knows how high it is: else what is found or scrolled
// to is moved by what comes into sight above it. It does so at the beginning of frames: what is seen is held in its place, and
// heights are kept, at their end. What is near the window is laid out already, and is what it is held by.
export async function layOut(nodes) {
  const left = [...nodes];
  for (let laid = []; laid.length || left.length;) {
    await new Promise((resolve) => { requestAnimationFrame(resolve); });
    for (const node of laid) node.classList.remove("laid");
    laid = [];
    for (const slice = new Slice(); left.length && !slice.isOver;) {
      const node = left.pop();
      if (node.lastElementChild.checkVisibility({ contentVisibilityAuto: true })) continue;
      node.classList.add("laid");
      node.getBoundingClientRect();
      laid.push(node);
    }
  }
}

// A text that is whole already.
export async function drawn(place, text, citations) {
  const growing = new Growing(place, citations);
  growing.take({ type: "chunk", content: text });
  growing.told();
  await growing.stop();
}
