// Citations of an answer: what it names by number, and the buttons that open it.

import { el } from "./dom.js";

const CITATIONS = /\[\d+(?:\s*[,;]\s*\d+)*\]/g;

// The numbers that a text cites.
export const cited = (text) => [...new Set((text.match(CITATIONS) ?? []).flatMap((each) => each.match(/\d+/g).map(Number)))];

// The citations of one answer: text, until the passages are known that they name.
export class Citations {
  #byNumber = new Map();
  #waiting = [];
  #open;

  constructor(open, passages = []) {
    this.#open = open;
    this.know(passages);
  }

  get passages() {
    return [...this.#byNumber.values()];
  }

  know(passages) {
    for (const passage of passages) this.#byNumber.set(passage.number, passage);
    this.#waiting = this.#waiting.filter(({ node, numbers }) => !this.#fill(node, numbers));
  }

  // What stands for a citation.
  drawn(numbers, raw) {
    const node = el("span", { class: "cites" }, raw);
    if (!this.#fill(node, numbers)) this.#waiting.push({ node, numbers });
    return node;
  }

  #fill(node, numbers) {
    if (!numbers.every((number) => this.#byNumber.has(number))) return false;
    node.replaceChildren(...numbers.map((number) => this.button(number, "citation", String(number))));
    return true;
  }

  button(number, kind, ...inside) {
    const passage = this.#byNumber.get(number);
    const title = passage.title || passage.id;
    const made = el("button", { type: "button", class: kind, "aria-label": `Citation ${number}: ${title}` }, ...inside);
    made.passage = () => this.#byNumber.get(number);
    made.addEventListener("click", () => this.#open(this.#byNumber.get(number), sentence(made)));
    return made;
  }
}

// The words before a citation, which it is to bear out.
function sentence(button) {
  const block = button.closest(".md :is(p, li, td, h3, h4, h5, h6)");
  if (!block) return "";
  const range = document.createRange();
  range.setStart(block, 0);
  range.setEndBefore(button);
  return range.toString().split(/(?<=[.!?])\s/).filter((each) => /\p{L}{2}/u.test(each)).at(-1) ?? "";
}
