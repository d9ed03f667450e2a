// Approvals: before a tool changes something, the person at the page agrees or refuses. One object serves one run.

import { call } from "./api.js";
import { alone, el, problem } from "./dom.js";

const STEERING = /[\p{Cf}\p{Zl}\p{Zp}]|(?!\n)\p{Cc}/gu; // What hides text, or shows one text as another.
const spelt = (text) => text.replace(STEERING, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);

export class Approvals {
  #run = "";
  #waiting = new Map(); // What is to be decided, by the id of the call.
  #dialog = null;
  #shown = null;

  take(event) {
    if (event.type === "start") this.#run = event.id;
    else if (event.type === "approval") this.#waiting.set(event.callId, event);
    else if (event.type === "decision") this.#waiting.delete(event.callId);
    else return;
    this.#show();
  }

  // The run is over: nothing is to be decided any more.
  close() {
    this.#waiting.clear();
    this.#show();
  }

  #show() {
    const [next = null] = this.#waiting.values();
    if (next === this.#shown) return;
    this.#shown = next;
    this.#dialog?.remove();
    this.#dialog = next && this.#asking(next);
    if (!next) return;
    document.body.append(this.#dialog);
    this.#dialog.showModal();
    this.#dialog.querySelector(".quiet").focus();
  }

  #asking({ name, description, arguments: given, expires, error }) {
    const button = (text, approved, properties) => el("button", { type: "button", onclick: () => this.#decide(approved), ...properties }, text);
    const until = new Date(expires * 1000).toLocaleTimeString();
    const oncancel = (event) => { event.preventDefault(); this.#decide(false); };
    return el("dialog", { id: "approval", role: "alertdialog", "aria-labelledby": "approval-title", "aria-describedby": "approval-about approval-text", oncancel },
      el("h2", { id: "approval-title" }, "Let the model call ", alone(name), "?"),
      el("p", { id: "approval-about" }, alone(spelt(description)), ` This changes something. Without an answer it is refused at ${until}.`),
      el("div", { id: "approval-text", class: "text code", dir: "ltr", tabIndex: 0 }, spelt(JSON.stringify(given, null, 2))),
      error && problem(error),
      el("div", { class: "row" }, button("Refuse", false, { class: "quiet" }), button("Agree", true)));
  }

  async #decide(approved) {
    const asked = this.#shown;
    this.#waiting.delete(asked.callId);
    this.#show();
    try {
      await call("POST", `/runs/${encodeURIComponent(this.#run)}/approvals/${encodeURIComponent(asked.callId)}`, { approved });
    } catch (error) {
      if (error.status === 404 || error.status === 409) return; // It is decided already: an event tells how.
      this.#waiting.set(asked.callId, { ...asked, error });
      this.#show();
    }
  }
}
