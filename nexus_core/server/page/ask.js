// Ask: a question, the answer as it streams, what it was made of.

import { ask, call } from "./api.js";
import { Turn } from "./answer.js";
import { Approvals } from "./approvals.js";
import * as attached from "./attached.js";
import { asking, choose, chosen, examples, found, isStored, load, offerAlone, offerRest, remember, searching } from "./choices.js";
import { cited } from "./citations.js";
import { refresh } from "./conversations.js";
import { $, el, problem, route } from "./dom.js";
import { layOut, pause, Slice } from "./growing.js";
import { load as loadMarkdown } from "./markdown.js";
import { may } from "./session.js";

const NONE = "-"; // In an address: no context.

let conversation = null; // Its id, from its first question on.
let kept = false; // Whether the server knows it: it has a whole answer.
let opening = null; // Another for each conversation that is opened.
let running = null;
let edited = null; // The turn whose place the next question takes.

export function begin() {
  $("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("query").addEventListener("keydown", (event) => {
    // An Enter that ends the composition of a character is not one that sends.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    send();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (running) running.abort();
    else leave();
  });
  $("edit-cancel").addEventListener("click", () => { leave(); $("query").focus(); });
  $("stop").addEventListener("click", () => running?.abort());
  $("fresh").addEventListener("click", fresh);
  $("pipeline").addEventListener("change", () => { offerRest(); renew(); address(); });
  $("context").addEventListener("change", () => { offerRest(); renew(); address(); });
  attached.begin(() => (isStored() && may("admin") ? chosen().contextId : ""), offerAlone);
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
    const missing = choose(pipeline, context === NONE ? "" : context);
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
  if (pipeline) history.replaceState(null, "", route("ask", ...[pipeline, contextId || (kept ? NONE : ""), kept ? conversation : ""].filter(Boolean)));
}

function renew() {
  running?.abort();
  conversation = opening = null;
  kept = false;
  leave();
  $("thread").replaceChildren();
  examples((question) => { $("query").value = question; send(); });
}

const acts = { again: (turn) => send(turn), edit, step };

// Puts the question of a turn into the field, with its files as far as they are here; the answer takes its place.
function edit(turn) {
  leave();
  edited = turn;
  $("editing").hidden = !turn.place;
  attached.restore(turn.sent);
  if (turn.lost.length) $("gone").replaceChildren(`Add again what it was asked about, which is kept nowhere: ${turn.lost.join(", ")}. `);
  $("query").value = turn.query;
  $("query").focus();
}

function leave() {
  if (edited) {
    $("query").value = "";
    attached.take();
    $("gone").replaceChildren();
  }
  edited = null;
  $("editing").hidden = true;
}

// Goes back to what was answered before, or on to what was after, with all that followed it: further questions, too.
async function step(turn, by) {
  const [id, run] = turn.place;
  if (running) return;
  const path = `/conversations/${encodeURIComponent(id)}`;
  try {
    const { versions } = await call("GET", `${path}/turns/${encodeURIComponent(run)}/versions`);
    const at = Math.min(versions.length - 1, Math.max(0, versions.findIndex((each) => each.id === run) + by));
    await call("PUT", `${path}/branch`, { turnId: versions[at].id });
    if (!turn.isSeen) return;
    leave();
    turn.cut();
    const shown = told(id, versions[at], { instead: turn, sent: turn.sent });
    await shown.show(versions[at].response);
    for (let after = versions[at].number; after !== null;) {
      const page = await call("GET", `${path}?limit=200&after=${after}`);
      for (const each of page.turns) {
        if (!shown.isSeen) return;
        await told(id, each).show(each.response);
      }
      after = page.next;
    }
    refresh(id);
    const steps = [...shown.node.querySelectorAll(".step")];
    (by < 0 ? steps : steps.reverse()).find((each) => !each.disabled)?.focus();
  } catch (error) {
    turn.says(problem(error));
  }
}

// A turn as the server tells it.
const told = (conversationId, { id, query, contextId, contextItems: passages, files, rating, comment, version, versions }, more = {}) =>
  new Turn(query, { ...acts, contextId: contextId ?? "", passages, files, rating, comment, place: [conversationId, id], version, versions, ...more });

// Shows the newest turn, and then what was before it.
async function resume(id) {
  renew();
  const mine = (opening = {});
  try {
    const turns = [];
    for (let after = 0; after !== null;) {
      const page = await call("GET", `/conversations/${encodeURIComponent(id)}?limit=200&after=${after}`);
      if (mine !== opening) return;
      turns.push(...page.turns);
      after = page.next;
    }
    conversation = id;
    kept = true;
    const newest = turns.pop();
    if (newest) {
      const turn = told(id, newest);
      scrollTo(0, 0);
      await turn.show(newest.response);
      await pause();
      if (mine !== opening) return;
      turn.asked.tabIndex = -1;
      turn.asked.focus({ preventScroll: true });
      const isLacking = [...turns, newest].some(({ contextItems, response }) => !contextItems.length && cited(response).length);
      const hint = el("p", { class: "hint" }, `To ask further, write below.${isLacking ? " Citations of passages that were not kept are plain text." : ""}`);
      fill(id, turns.reverse(), mine).then(() => {
        turn.node.after(hint);
        layOut($("thread").querySelectorAll(".answer"));
      });
    }
    refresh(id);
  } catch (error) {
    $("thread").append(problem(error));
  }
}

// Puts earlier turns above, the latest of them first, as many at a time as can be drawn between two frames. What is read
// stays where it is.
async function fill(id, turns, mine) {
  const slice = new Slice();
  let drawn = [];
  for (const [place, each] of turns.entries()) {
    const turn = told(id, each, { isApart: true });
    await turn.show(each.response);
    drawn.unshift(turn.asked, turn.node);
    if (!slice.isOver && place + 1 < turns.length) continue;
    if (mine !== opening) return;
    const [first] = $("thread").children;
    const top = first.getBoundingClientRect().top;
    $("thread").prepend(...drawn);
    scrollBy(0, first.getBoundingClientRect().top - top);
    drawn = [];
    await slice.next();
  }
}

// Asks what is in the field, or a turn again, in its place.
async function send(again) {
  const query = (again?.query ?? $("query").value).trim();
  if (!query || running) return;
  const { options, ...where } = chosen();
  if (again?.lost.length) {
    again.says(el("p", { class: "problem" }, `Choose Edit and add again what it was asked about, which is kept nowhere: ${again.lost.join(", ")}.`));
    return;
  }
  const sent = again === undefined ? attached.take() : again.sent;
  if (again?.isAlone || (!where.contextId && attached.areRead(sent))) delete where.contextId;
  else if (!where.contextId) {
    if (again === undefined) attached.restore(sent);
    $($("context").options.length ? "context" : "query").focus();
    $("said").replaceChildren($("about").textContent);
    return;
  }
  if (where.contextId) remember();
  conversation ??= newId();
  const controller = (running = new AbortController());
  const old = again ?? edited;
  const rest = old?.place ? old.cut() : []; // What followed it is kept with it, and comes back with it.
  const turn = new Turn(query, { ...acts, instead: old, version: old?.place ? old.versions + 1 : 1, contextId: isStored() ? where.contextId ?? "" : "", files: sent.map(({ file }) => file.name), sent, isAlone: !where.contextId });
  if (again === undefined) {
    leave();
    $("query").value = "";
  }
  busy(true);
  turn.says(searching());
  const growing = turn.grow();
  const approvals = new Approvals();
  turn.asked.scrollIntoView({ block: "start" });
  try {
    const progress = { stream: true, approveTools: true, includeTrace: true, includeProgress: true };
    const body = { ...where, query, ...await attached.fields(sent), options: { ...options, ...progress, conversationId: conversation } };
    if (old?.place) body.options.replaces = old.place[1];
    for await (const event of ask(body, controller.signal)) {
      tell(turn, event);
      growing.take(event);
      approvals.take(event);
    }
    const { end } = growing;
    if (end.conversationId) turn.place = [end.conversationId, end.id];
    await turn.finish();
    if (turn.isSeen) kept = conversation === end.conversationId;
  } catch (error) {
    await failed(turn, error, again ? "" : query, old, rest, sent);
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
function tell(turn, event) {
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

// The old answer is there still.
async function failed(turn, error, query, old, rest, sent) {
  const isStopped = error.name === "AbortError";
  await turn.fail(error, isStopped);
  if (!turn.isSeen) return;
  if (old?.place) {
    turn.asked.replaceWith(old.asked, old.node);
    old.trouble = turn.node;
    $("thread").append(...rest);
  }
  if (query && !$("query").value) {
    if (old?.place) edit(old);
    $("query").value = query;
    attached.take();
    attached.restore(sent, error.status === 422 ? error.message : "");
  }
  $("said").replaceChildren(isStopped ? "Stopped." : error.message);
}

function newId() {
  // randomUUID is there only on localhost and over TLS.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
