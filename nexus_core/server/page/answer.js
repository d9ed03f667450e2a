// One question with its answer: the text, its sources, what can be done with it, and how it was made.

import { call } from "./api.js";
import { Citations, cited } from "./citations.js";
import { $, alone, counted, el, problem } from "./dom.js";
import { drawn, Growing } from "./growing.js";
import { copied } from "./markdown.js";
import { openPassage } from "./passages.js";
import { picture, tries } from "./window.js";

const EARLY = 6; // Sources that are shown before the answer.

export class Turn {
  // `again`, `edit` and `step` take the turn, where it can be asked; `place` is where it is kept, once it is. It is one of
  // `versions`, and stands where the turn `instead` stood, else at the end, or nowhere yet where it `isApart`.
  constructor(query, { again, edit, step, contextId = "", passages = [], files = [], sent = [], isAlone = false, place = null, rating = null, comment = null, version = 1, versions = version, instead = null, isApart = false }) {
    Object.assign(this, { query, again, step, place, rating, comment, version, versions });
    this.isAlone = isAlone; // It was asked without a context.
    this.sent = sent.filter(({ file }) => files.includes(file.name)); // While the page is open.
    this.lost = files.filter((name) => !sent.some(({ file }) => file.name === name));
    this.citations = new Citations((passage, words) => openPassage(passage, contextId, words), passages);
    this.state = el("div", { class: "state hint", role: "status" });
    this.body = el("div");
    this.foot = el("div", { class: "foot" });
    this.node = el("article", { class: "answer", "aria-label": "Answer" }, this.state, this.body, this.foot);
    const change = edit ? el("button", { type: "button", class: "quiet small edit", onclick: () => edit(this) }, "Edit") : null;
    const names = files.length ? el("ul", { class: "chips files", "aria-label": "Files" }, ...files.map((name) => el("li", { class: "chip" }, alone(name))), el("li", { class: "hint" }, "asked about once")) : null;
    this.asked = el("div", { class: "turn" }, el("div", { class: "asked", dir: "auto" }, query), names, change);
    this.open = (passage, words) => openPassage(passage, contextId, words);
    if (instead?.isSeen) instead.give(this.asked, this.node);
    else if (!isApart) $("thread").append(this.asked, this.node);
  }

  // Leaves its place to others.
  give(...nodes) {
    this.asked.before(...nodes);
    this.trouble?.remove(); // What was wrong with asking it again.
    this.asked.remove();
    this.node.remove();
  }

  // Takes away what stands after it, and returns that.
  cut() {
    this.trouble?.remove();
    const rest = [];
    for (let next = this.node.nextSibling; next; next = this.node.nextSibling) {
      rest.push(next);
      next.remove();
    }
    return rest;
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
    this.#end(text, called(end.tools), leftOut(end.documents), made("How this was made", () => picture(end, this.open)));
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
    const again = this.again ? el("button", { type: "button", class: "quiet small again", onclick: () => this.again(this) }, "Ask again") : "";
    const [tools, left, how] = more;
    const [thumbs, why] = this.place ? this.#thumbs() : [[], null];
    this.foot.replaceChildren(...[this.#sources(text), el("div", { class: "row" }, ...this.#steps(), copy, again, ...thumbs, tools ?? ""), why, left, how].filter(Boolean));
  }

  // To what was answered before and after.
  #steps() {
    if (this.versions < 2 || !this.step) return [];
    const [back, on] = [["‹", "Earlier answer", -1], ["›", "Later answer", 1]].map(([sign, label, by]) => el("button", {
      type: "button", class: "quiet small step", "aria-label": label, title: label, onclick: () => this.step(this, by),
      disabled: by < 0 ? this.version === 1 : this.version === this.versions,
    }, sign));
    return [back, el("span", { class: "hint" }, `${this.version} of ${this.versions}`), on];
  }

  // Pressed a second time, one takes it back; one that is pressed may be told why. No turn has a form before it is used:
  // whenever a page gets one, the browser looks through all of them for what it could fill in, and lays out what is not seen.
  #thumbs() {
    const [conversation, run] = this.place.map(encodeURIComponent);
    const buttons = [["up", "Good answer"], ["down", "Bad answer"]].map(([name, label]) =>
      el("button", { type: "button", class: `quiet small thumb ${name}`, "aria-label": label, title: label, onclick: () => rate(this.rating === name ? null : name) }, thumb()));
    const why = el("div", { class: "why" });
    const keep = el("button", { class: "quiet small" }, "Keep");
    let field = null;
    const draw = () => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.classList.contains(this.rating)));
    };
    const write = () => {
      field = el("input", { value: this.comment ?? "", maxLength: 2_000, autocomplete: "off", dir: "auto", placeholder: "Why? (optional)", "aria-label": "Why the answer is good or bad", oninput: () => { keep.textContent = "Keep"; } });
      why.replaceChildren(el("form", { class: "row", onsubmit: (event) => { event.preventDefault(); rate(this.rating); } }, field, keep));
    };
    const rate = async (rating) => {
      const comment = field?.value ?? this.comment ?? "";
      try {
        const told = await call("PUT", `/conversations/${conversation}/turns/${run}/rating`, { rating, comment });
        Object.assign(this, { rating: told.rating, comment: told.comment });
        this.says();
        draw();
        if (!this.rating) {
          field = null;
          why.replaceChildren();
        } else if (field) field.value = this.comment ?? "";
        else write();
        keep.textContent = comment ? "Kept" : "Keep";
        $("said").replaceChildren(this.rating ? "Kept with the answer." : "Taken back.");
      } catch (error) {
        this.says(problem(error));
      }
    };
    draw();
    if (this.comment) why.append(el("button", { type: "button", class: "quiet small", title: "Change it", onclick: () => { write(); field.focus(); } }, "Why: ", alone(this.comment)));
    return [buttons, why];
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

function thumb() {
  const [sign, line] = ["svg", "path"].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
  sign.setAttribute("viewBox", "0 0 24 24");
  sign.setAttribute("aria-hidden", "true");
  line.setAttribute("d", "M7 11v10H3V11zl4-8c2 0 3 1 3 3v3h5c1 0 2 1 2 2l-2 8c0 1-1 2-2 2H7");
  sign.append(line);
  return sign;
}

function called(tools) {
  const rows = tools?.map(({ name, outcome, items }) => `${name}: ${outcome}, ${items} item${items === 1 ? "" : "s"}`);
  return rows ? el("span", { class: "hint" }, `Tools called: ${rows.join("; ")}`) : null;
}

// What of the files of a question the model has not had.
function leftOut(documents = []) {
  const lines = documents.map(({ name, items, sent, whole, remarks }) => [name, [
    sent < items ? `${sent} of ${counted(items, "section")} went to the model` : whole < sent ? "it went to the model in part" : "", ...remarks,
  ].filter(Boolean)]).filter(([, said]) => said.length);
  return lines.length ? el("ul", { class: "hint left", "aria-label": "What was left out of files" }, ...lines.map(([name, said]) => el("li", {}, alone(name), ": ", alone(said.join("; "))))) : null;
}

// Drawn when it is looked at.
function made(name, draw) {
  const inside = el("div", { class: "parts" });
  return el("details", { class: "made", ontoggle: () => { if (!inside.children.length) inside.replaceChildren(...draw()); } }, el("summary", {}, name), inside);
}
