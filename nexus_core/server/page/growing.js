// An answer that is growing: drawn once a frame, and told to screen readers by sentences.

import { $, el } from "./dom.js";

const BLOCK = 4_000; // The layout of a longer one would begin anew with every piece.
const SENTENCES = 100; // Fewer characters are not told apart.

// Draws, and stays at the end of the thread, above the question, where the reader is there.
export function following(draw) {
  const hidden = () => $("thread").getBoundingClientRect().bottom - $("form").getBoundingClientRect().top;
  const follows = hidden() < 80;
  draw();
  if (follows && hidden() > 0) scrollBy(0, hidden());
}

export class Growing {
  text = "";
  end = null;
  #drawn = 0;
  #told = 0;
  #frame = 0;

  constructor(answer) {
    this.node = el("div", { class: "growing" });
    this.#begin();
    answer.replaceChildren(this.node);
  }

  take(event) {
    if (event.type === "chunk") this.text += event.content;
    else if (event.type === "restart") this.#clear();
    else if (event.type === "end") this.end = event;
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.#frame = 0;
    following(() => this.#show(this.text.slice(this.#drawn)));
    this.#drawn = this.text.length;
    this.#tell(SENTENCES);
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    this.draw();
    this.#tell(0);
    this.node.classList.remove("growing");
  }

  #begin() {
    this.block = el("div", { class: "text", dir: "auto" });
    this.length = 0;
    this.node.append(this.block);
  }

  #clear() {
    this.text = "";
    this.#drawn = this.#told = 0;
    this.node.replaceChildren();
    this.#begin();
    $("said").replaceChildren("The answer begins anew.");
  }

  #show(text) {
    const line = this.length > BLOCK ? text.indexOf("\n") : -1;
    this.block.append(line < 0 ? text : text.slice(0, line));
    this.length += text.length;
    if (line < 0) return;
    this.#begin();
    this.#show(text.slice(line + 1));
  }

  #tell(least) {
    const rest = this.text.slice(this.#told);
    if (rest.length <= least) return;
    const end = least ? Math.max(rest.lastIndexOf(". "), rest.lastIndexOf("\n")) + 1 : rest.length;
    if (end) $("said").append(el("p", {}, rest.slice(0, end)));
    this.#told += end;
  }
}
