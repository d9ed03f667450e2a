// Ask: a question, the answer as it streams, what it was made of.

import { ask, call } from "./api.js";
import { Turn } from "./answer.js";
import { Approvals } from "./approvals.js";
import * as attached from "./attached.js";
import { asking, choose, chosen, examples, found, isStored, load, offerRest, searching } from "./choices.js";
import { cited } from "./citations.js";
import { refresh } from "./conversations.js";
import { $, el, problem, route } from "./dom.js";
import { pause } from "./growing.js";
import { load as loadMarkdown } from "./markdown.js";
import { may } from "./session.js";

const SLICE_MS = 8; // Of work on a conversation that is opened, before the browser draws.

let conversation = null; // Its id, from its first question on.
let kept = false; // Whether the server knows it: it has a whole answer.
let running = null;

export function begin() {
  $("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("query").addEventListener("keydown", (event) => {
    // An Enter that ends the composition of a character is not one that sends.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    send();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) running?.abort();
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("fresh").addEventListener("click", fresh);
  $("pipeline").addEventListener("change", () => { offerRest(); renew(); address(); });
  $("context").addEventListener("change", () => { offerRest(); renew(); address(); });
  attached.begin(() => (isStored() && may("admin") ? chosen().contextId : ""));
  const idle = window.requestIdleCallback ?? setTimeout;
  idle(() => loadMarkdown().catch(() => {}));
  renew();
}

function fresh() {
  renew();
  if ($("view-ask").hidden) location.hash = "ask";
  else address();
  $("query").focus();
}

export async function show([pipeline, context, id]) {
  try {
    await load();
    const missing = choose(pipeline, context);
    if (missing) $("about").prepend(el("p", { class: "problem" }, missing));
    if (id && id !== conversation) await resume(id);
    else if (!id && pipeline && kept) renew();
    address();
    if (!conversation) examples((question) => { $("query").value = question; send(); });
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
  examples((question) => { $("query").value = question; send(); });
}

const acts = { again: (query) => send(query), edit: (query) => { $("query").value = query; $("query").focus(); } };

async function resume(id) {
  renew();
  let after = 0;
  let lacking = false;
  let began = performance.now();
  try {
    while (after !== null) {
      const told = await call("GET", `/conversations/${encodeURIComponent(id)}?limit=200&after=${after}`);
      for (const { id: run, query, response, contextId, contextItems: passages, rating, comment } of told.turns) {
        lacking ||= !passages.length && cited(response).length;
        const turn = new Turn(query, { ...acts, contextId: contextId ?? "", passages, rating, comment, place: [id, run] });
        await turn.show(response);
        if (performance.now() - began > SLICE_MS) {
          await pause();
          began = performance.now();
        }
        if (!turn.isSeen) return;
      }
      after = told.next;
    }
    conversation = id;
    kept = true;
    $("thread").append(el("p", { class: "hint" }, `To ask further, write below.${lacking ? " Citations of passages that were not kept are plain text." : ""}`));
    refresh(id);
    $("thread").focus({ preventScroll: true });
  } catch (error) {
    $("thread").append(problem(error));
  }
}

async function send(again) {
  const query = (again ?? $("query").value).trim();
  if (!query || running) return;
  const { options, ...where } = chosen();
  if (!where.contextId) {
    $("query").focus();
    $("said").replaceChildren($("about").textContent);
    return;
  }
  conversation ??= newId();
  const controller = (running = new AbortController());
  const turn = new Turn(query, { ...acts, contextId: isStored() ? where.contextId : "", files: again === undefined ? attached.names() : [] });
  if (again === undefined) $("query").value = "";
  busy(true);
  turn.says(searching());
  const growing = turn.grow();
  const approvals = new Approvals();
  turn.asked.scrollIntoView({ block: "start" });
  try {
    const attachments = again === undefined ? await attached.taken() : [];
    const progress = { stream: true, approveTools: true, includeTrace: true, includeProgress: true };
    const body = { ...where, query, options: { ...options, ...progress, conversationId: conversation } };
    if (attachments.length) body.attachments = attachments;
    for await (const event of ask(body, controller.signal)) {
      told(turn, event);
      growing.take(event);
      approvals.take(event);
    }
    const { end } = growing;
    if (end.conversationId) turn.place = [end.conversationId, end.id];
    await turn.finish();
    if (turn.isSeen) kept = conversation === end.conversationId;
  } catch (error) {
    await failed(turn, error, query);
  } finally {
    approvals.close();
    if (running === controller) {
      running = null;
      busy(false);
      address();
      if (kept) refresh(conversation);
    }
  }
}

// What is known before the answer is.
function told(turn, event) {
  if (event.type === "searched") turn.says(found(event.items));
  else if (event.type === "asking") {
    turn.says(asking(event.model));
    turn.reads(event.contextItems);
  } else if (event.type === "chunk") turn.says();
}

function busy(is) {
  $("send").hidden = $("send").disabled = is;
  $("stop").hidden = !is;
  if (is) $("said").replaceChildren("The answer is on its way.");
  // The button that was pressed is gone: its focus would be lost.
  if (document.activeElement === document.body) $("query").focus({ preventScroll: true });
}

async function failed(turn, error, query) {
  const isStopped = error.name === "AbortError";
  await turn.fail(error, isStopped);
  if (!turn.isSeen) return;
  if (!$("query").value) $("query").value = query;
  $("said").replaceChildren(isStopped ? "Stopped." : error.message);
}

function newId() {
  // randomUUID is there only on localhost and over TLS.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
