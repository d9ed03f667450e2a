// Ask: a question, the answer as it streams, what it was made of.

import { shown } from "./answer.js";
import { ask, call } from "./api.js";
import { $, el, problem } from "./dom.js";
import { picture, tries } from "./window.js";

let pipelines = [];
let contexts = [];
let conversation = null;
let running = null;
let openPassage = () => {};

export function begin(open) {
  openPassage = open;
  $("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("query").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) running?.abort();
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("fresh").addEventListener("click", () => { renew(); $("query").focus(); });
  $("pipeline").addEventListener("change", () => { offerContexts(); renew(); });
  $("context").addEventListener("change", renew);
  $("conversation").addEventListener("change", () => resume($("conversation").value));
  renew();
}

export async function refresh() {
  try {
    // One after the other: without a key the first alone fails, and too many failures count against this address.
    pipelines = (await call("GET", "/pipelines")).pipelines;
    contexts = (await call("GET", "/contexts")).contexts;
    offerPipelines();
    await listConversations();
  } catch (error) {
    $("about").replaceChildren(problem(error));
  }
}

function options(select, found, chosen) {
  select.replaceChildren(...found.map(([value, name]) => el("option", { value }, name)));
  if (found.some(([value]) => value === chosen)) select.value = chosen;
}

function offerPipelines() {
  const chosen = $("pipeline").value || pipelines.find((pipeline) => pipeline.default)?.name;
  options($("pipeline"), pipelines.map(({ name }) => [name, name]), chosen);
  offerContexts();
}

function offerContexts() {
  const pipeline = pipelines.find(({ name }) => name === $("pipeline").value);
  if (!pipeline) return;
  const takes = pipeline.takesContext;
  options($("context"), takes ? contexts.map(({ name }) => [name, name]) : [[pipeline.name, "its own"]], $("context").value);
  $("context").disabled = !takes;
  $("about").textContent = takes && !contexts.length
    ? "There is no context yet: create one under Contexts, and add documents to it."
    : pipeline.description;
}

async function listConversations() {
  const told = await call("GET", "/conversations?limit=50");
  const known = told.conversations.map(({ id, changed, turns }) => [id, `${when(changed)}, ${turns} asked`]);
  options($("conversation"), [["", "New"], ...known], conversation);
}

function renew() {
  running?.abort();
  conversation = null;
  $("conversation").value = "";
  $("thread").replaceChildren();
  $("aside").replaceChildren(el("p", { class: "hint" }, "With an answer, this shows what filled the model's window, what was left out and why, and which attempts it took."));
}

async function resume(id) {
  renew();
  if (!id) return;
  conversation = id;
  $("conversation").value = id;
  try {
    const told = await call("GET", `/conversations/${encodeURIComponent(id)}?limit=1000`);
    for (const turn of told.turns) $("thread").append(questionOf(turn.query), answerOf(...shown(turn.response, [], openPassage)));
  } catch (error) {
    $("thread").append(problem(error));
  }
}

const questionOf = (text) => el("div", { class: "asked" }, text);
const answerOf = (...children) => el("article", { class: "answer", "aria-label": "Answer" }, ...children);

async function send() {
  const query = $("query").value.trim();
  if (!query || running) return;
  if (!$("context").value) {
    $("query").focus();
    $("said").textContent = $("about").textContent;
    return;
  }
  conversation ??= newId();
  const answer = answerOf();
  $("thread").append(questionOf(query), answer);
  $("query").value = "";
  busy(true);
  const controller = (running = new AbortController());
  const growing = new Growing(answer);
  const kept = { pipeline: $("pipeline").value, contextId: $("context").value };
  const body = { ...kept, query, options: { stream: true, includeTrace: true, conversationId: conversation } };
  try {
    for await (const event of ask(body, controller.signal)) growing.take(event);
    finish(answer, growing);
  } catch (error) {
    fail(answer, growing, error, query);
  } finally {
    if (running === controller) {
      running = null;
      busy(false);
    }
  }
  listConversations().catch(() => {});
}

function busy(is) {
  $("send").disabled = is;
  $("stop").hidden = !is;
  if (is) $("said").textContent = "The answer is on its way.";
  // The button that was pressed is gone: its focus would be lost.
  if (document.activeElement === document.body) $("query").focus();
}

// The text that has come so far; it is drawn once a frame, however fast it comes.
class Growing {
  text = "";
  end = null;
  #drawn = 0;
  #frame = 0;

  constructor(answer) {
    this.node = el("div", { class: "text growing" });
    answer.replaceChildren(this.node);
  }

  take(event) {
    if (event.type === "chunk") this.text += event.content;
    else if (event.type === "restart") { this.text = ""; this.#drawn = 0; this.node.replaceChildren(); }
    else if (event.type === "end") this.end = event;
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.#frame = 0;
    const follows = window.innerHeight + window.scrollY >= document.body.scrollHeight - 80;
    this.node.append(this.text.slice(this.#drawn));
    this.#drawn = this.text.length;
    if (follows && this.node.isConnected) window.scrollTo(0, document.body.scrollHeight);
  }
}

function finish(answer, growing) {
  const { end } = growing;
  growing.draw();
  answer.replaceChildren(
    ...shown(growing.text, end.metadata.contextItems, openPassage),
    el("button", { type: "button", class: "quiet small", onclick: () => look(end) }, "How it was made"),
  );
  look(end);
  $("said").textContent = `The answer: ${growing.text}`;
}

function look(end) {
  $("aside").replaceChildren(...picture(end, openPassage));
}

function fail(answer, growing, error, query) {
  growing.draw();
  growing.node.classList.remove("growing");
  const stopped = error.name === "AbortError";
  const told = stopped
    ? el("p", { class: "hint" }, "Stopped: this answer is not complete, and the conversation does not keep it.")
    : problem(error);
  answer.append(told);
  if (!growing.text) growing.node.remove();
  if (!$("query").value) $("query").value = query;
  if (error.attempts?.length) $("aside").replaceChildren(tries(error.attempts));
  $("said").textContent = stopped ? "Stopped." : error.message;
}

function when(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" });
}

function newId() {
  // randomUUID is there only on localhost and over TLS.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
