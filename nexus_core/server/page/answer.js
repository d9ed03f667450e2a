// One question with its answer: the text, its sources, what can be done with it, and how it was made.

import { Citations, cited } from "./citations.js";
import { $, alone, el, problem } from "./dom.js";
import { drawn, Growing } from "./growing.js";
import { copied } from "./markdown.js";
import { openPassage } from "./passages.js";
import { picture, tries } from "./window.js";

const EARLY = 6; // Sources that are shown before the answer.

export class Turn {
  // `again` and `edit` take the question.
  constructor(query, { again, edit, contextId = "", passages = [], files = [] }) {
    this.query = query;
    this.again = again;
    this.citations = new Citations((passage, words) => openPassage(passage, contextId, words), passages);
    this.state = el("div", { class: "state hint", role: "status" });
    this.body = el("div");
    this.foot = el("div", { class: "foot" });
    this.node = el("article", { class: "answer", "aria-label": "Answer" }, this.state, this.body, this.foot);
    const change = el("button", { type: "button", class: "quiet small edit", onclick: () => edit(query) }, "Edit");
    const names = files.length ? el("div", { class: "hint" }, files.join(", ")) : null;
    this.asked = el("div", { class: "turn" }, el("div", { class: "asked", dir: "auto" }, query), names, change);
    this.open = (passage, words) => openPassage(passage, contextId, words);
    $("thread").append(this.asked, this.node);
  }

  get isSeen() {
    return this.node.isConnected;
  }

  grow() {
    this.growing = new Growing(this.body, this.citations);
    return this.growing;
  }

  says(...what) {
    this.state.replaceChildren(...what);
  }

  // The passages that the model has before it, before it answers.
  reads(passages) {
    this.citations.know(passages);
    this.foot.replaceChildren(this.#list(passages.slice(0, EARLY).map(({ number }) => number)));
  }

  async show(text) {
    await drawn(this.body, text, this.citations);
    this.#end(text);
  }

  async finish() {
    const { end, text } = this.growing;
    this.says();
    this.citations.know(end.metadata.contextItems);
    await this.growing.stop();
    this.#end(text, called(end.tools), made("How this was made", () => picture(end, this.open)));
  }

  async fail(error, isStopped) {
    const { text } = this.growing;
    const attempts = error.attempts || [];
    await this.growing.stop();
    this.says();
    const told = isStopped ? [] : [problem(error)];
    if (isStopped || text) told.unshift(el("p", { class: "hint" }, `${isStopped ? "Stopped. " : ""}The answer is not complete, and the conversation does not keep it.`));
    if (attempts.length) told.push(made("Attempts", () => [tries(attempts)]));
    this.foot.replaceChildren(...told);
  }

  #end(text, ...more) {
    const copy = el("button", { type: "button", class: "quiet small copy", onclick: async () => $("said").replaceChildren(await copied(copy, text)) }, "Copy");
    const again = el("button", { type: "button", class: "quiet small again", onclick: () => this.again(this.query) }, "Ask again");
    const [tools, how] = more;
    this.foot.replaceChildren(...[this.#sources(text), el("div", { class: "row" }, copy, again, tools ?? ""), how].filter(Boolean));
  }

  #sources(text) {
    const known = new Map(this.citations.passages.map((passage) => [passage.number, passage]));
    const numbers = cited(text).filter((number) => known.has(number));
    return numbers.length ? this.#list(numbers) : null;
  }

  #list(numbers) {
    const known = new Map(this.citations.passages.map((passage) => [passage.number, passage]));
    return el("section", { class: "sources", "aria-label": "Sources" }, ...numbers.map((number) => {
      const { title, id, place } = known.get(number);
      return this.citations.button(number, "source", el("span", { class: "number" }, String(number)), alone(title || id), el("span", { class: "hint" }, place || ""));
    }));
  }
}

function called(tools) {
  const rows = tools?.map(({ name, outcome, items }) => `${name}: ${outcome}, ${items} item${items === 1 ? "" : "s"}`);
  return rows ? el("span", { class: "hint" }, `Tools called: ${rows.join("; ")}`) : null;
}

// Drawn when it is looked at.
function made(name, draw) {
  const inside = el("div", { class: "parts" });
  return el("details", { class: "made", ontoggle: () => { if (!inside.children.length) inside.replaceChildren(...draw()); } }, el("summary", {}, name), inside);
}
