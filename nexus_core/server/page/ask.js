// Ask: a question, the answer as it streams, what it was made of.

import { shown } from "./answer.js";
import { ask, call } from "./api.js";
import { Approvals } from "./approvals.js";
import { choose, chosen, isStored, load, offerRest } from "./choices.js";
import { keep, recall } from "./cited.js";
import { openPassage } from "./dialogs.js";
import { $, el, problem, route } from "./dom.js";
import { following, Growing } from "./growing.js";
import { picture, tries } from "./window.js";

let conversation = null; // Its id, from its first question on.
let kept = false; // Whether the server knows it: it has a whole answer.
let running = null;

export function begin() {
  $("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("query").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) running?.abort();
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("fresh").addEventListener("click", () => { renew(); address(); $("query").focus(); });
  $("pipeline").addEventListener("change", () => { offerRest(); renew(); address(); });
  $("context").addEventListener("change", () => { renew(); address(); });
  renew();
}

export async function show([pipeline, context, id]) {
  try {
    await load();
    const missing = choose(pipeline, context);
    if (missing) $("about").prepend(el("p", { class: "problem" }, missing));
    if (id && id !== conversation) await resume(id);
    else if (!id && pipeline && kept) renew();
    address();
  } catch (error) {
    $("about").replaceChildren(problem(error));
  }
}

// The address leads back here: to the pipeline, the context, and the conversation once it is kept.
function address() {
  if ($("view-ask").hidden) return;
  const { pipeline, contextId } = chosen();
  if (pipeline) history.replaceState(null, "", route("ask", ...[pipeline, contextId, kept ? conversation : ""].filter(Boolean)));
}

function renew() {
  running?.abort();
  conversation = null;
  kept = false;
  $("thread").replaceChildren();
  $("fresh").hidden = true;
  $("aside").replaceChildren(el("p", { class: "hint" }, "With an answer, this shows what filled the model's window, what was left out and why, and which attempts it took."));
}

async function resume(id) {
  renew();
  let after = 0;
  let lacking = false;
  try {
    while (after !== null) {
      const told = await call("GET", `/conversations/${encodeURIComponent(id)}?limit=200&after=${after}`);
      for (const { id: run, query, response } of told.turns) {
        const { passages, contextId, lacks } = recall(run, response);
        lacking ||= lacks;
        $("thread").append(questionOf(query), answerOf(...shown(response, passages, opening(contextId)), copying(response)));
      }
      after = told.next;
    }
    conversation = id;
    kept = true;
    $("fresh").hidden = false;
    $("thread").append(el("p", { class: "hint" }, `To ask further, write below.${lacking ? " Citations are plain text where this tab has not seen the passages." : ""}`));
    $("thread").focus();
  } catch (error) {
    $("thread").append(problem(error));
  }
}

// Opens a passage, and from there its item where that is in a context of the store.
const opening = (contextId) => (passage) => openPassage(passage, contextId ? route("contexts", contextId, "items", passage.id) : "");
const questionOf = (text) => el("div", { class: "asked", dir: "auto" }, text);
const answerOf = (...children) => el("article", { class: "answer", "aria-label": "Answer" }, ...children);

async function send() {
  const query = $("query").value.trim();
  if (!query || running) return;
  const { options, ...where } = chosen();
  if (!where.contextId) {
    $("query").focus();
    $("said").replaceChildren($("about").textContent);
    return;
  }
  conversation ??= newId();
  const answer = answerOf();
  $("thread").append(questionOf(query), answer);
  $("query").value = "";
  busy(true);
  const controller = (running = new AbortController());
  const growing = new Growing(answer);
  const approvals = new Approvals();
  const body = { ...where, query, options: { ...options, stream: true, approveTools: true, includeTrace: true, conversationId: conversation } };
  answer.scrollIntoView({ block: "end" });
  try {
    for await (const event of ask(body, controller.signal)) {
      growing.take(event);
      approvals.take(event);
    }
    finish(answer, growing, where);
  } catch (error) {
    fail(answer, growing, error, query);
  } finally {
    approvals.close();
    if (running === controller) {
      running = null;
      busy(false);
      address();
    }
  }
}

function busy(is) {
  $("send").disabled = is;
  $("stop").hidden = !is;
  $("fresh").hidden = false;
  if (is) $("said").replaceChildren("The answer is on its way.");
  // The button that was pressed is gone: its focus would be lost.
  if (document.activeElement === document.body) $("query").focus();
}

function finish(answer, growing, { contextId }) {
  const { end, text } = growing;
  growing.stop();
  const stored = isStored() ? contextId : "";
  const open = opening(stored);
  keep(end.id, text, end.metadata.contextItems, stored);
  const made = looking("How it was made", () => picture(end, open));
  following(() => answer.replaceChildren(...shown(text, end.metadata.contextItems, open), el("div", { class: "row" }, copying(text), made, called(end.tools))));
  if (!answer.isConnected) return;
  $("aside").replaceChildren(...picture(end, open));
  kept = conversation === end.conversationId;
}

function called(tools) {
  const rows = tools?.map(({ name, outcome, items }) => `${name}: ${outcome}, ${items} item${items === 1 ? "" : "s"}`);
  return rows ? el("span", { class: "hint" }, `Tools called: ${rows.join("; ")}`) : null;
}

function looking(name, drawn) {
  const look = () => {
    $("aside").replaceChildren(...drawn());
    $("aside").focus({ preventScroll: true });
    $("aside").scrollIntoView({ block: "nearest" });
  };
  return el("button", { type: "button", class: "quiet small made", onclick: look }, name);
}

function copying(text) {
  const button = el("button", { type: "button", class: "quiet small copy" }, "Copy");
  button.addEventListener("click", async () => {
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    button.textContent = done ? "Copied" : "Not allowed: select the text";
    $("said").replaceChildren(button.textContent);
  });
  return button;
}

function fail(answer, growing, error, query) {
  growing.stop();
  const stopped = error.name === "AbortError";
  const attempts = error.attempts || [];
  const told = shown(growing.text, [], openPassage);
  if (stopped || growing.text) told.push(el("p", { class: "hint" }, `${stopped ? "Stopped. " : ""}The answer is not complete, and the conversation does not keep it.`));
  if (!stopped) told.push(problem(error));
  if (attempts.length) told.push(looking("Attempts", () => [tries(attempts)]));
  following(() => answer.replaceChildren(...told));
  if (!answer.isConnected) return;
  if (!$("query").value) $("query").value = query;
  if (attempts.length) $("aside").replaceChildren(tries(attempts));
  $("said").replaceChildren(stopped ? "Stopped." : error.message);
}

function newId() {
  // randomUUID is there only on localhost and over TLS.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
