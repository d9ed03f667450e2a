// What a question goes to: the pipeline, its context, its model, its system prompt; and what may be asked.

import { call } from "./api.js";
import { $, alone, counted, el } from "./dom.js";
import { choice, know, may } from "./session.js";

const CHIPS = 12;
const EXAMPLES = [(title) => `What does “${title}” say?`, (title) => `Sum up “${title}” in three points`, (title) => `What should I know about “${title}”?`];

let pipelines = [];
let contexts = [];
let models = [];
let mayLack = false; // Whether no context need be chosen.
let context = ""; // The last one that was.

export async function load() {
  // One after the other: without a key the first alone fails.
  pipelines = (await call("GET", "/pipelines")).pipelines;
  contexts = (await call("GET", "/contexts")).contexts;
  models = (await call("GET", "/queries/models")).models;
  await know();
  const names = pipelines.map(({ name }) => [name, name]);
  offer("pipeline", names, $("pipeline").value || pipelines.find((pipeline) => pipeline.default)?.name);
  offerRest();
}

// Chooses what an address names, for the pipeline "-" one that takes a context; tells what of it there is not.
export function choose(pipeline, context) {
  const missing = [];
  const taking = [current(), ...pipelines].find((each) => each?.takesContext)?.name;
  for (const [id, value] of [["pipeline", pipeline === "-" ? taking : pipeline], ["context", context]]) {
    if (!value) continue;
    if ([...$(id).options].some((option) => option.value === value)) $(id).value = value;
    else missing.push(`There is no ${id} “${value}” here any more.`);
    offerRest();
  }
  return missing.join(" ");
}

export function offerRest() {
  const pipeline = current();
  const takes = pipeline.takesContext;
  // Of several none is chosen but the one that was asked last: nobody asks another by accident.
  const names = contexts.map(({ name }) => [name, name]);
  const isThere = (each) => contexts.some(({ name }) => name === each);
  if (isThere($("context").value)) context = $("context").value;
  const wanted = [context, localStorage.getItem(choice("context"))].find(isThere);
  if (mayLack && contexts.length) names.push(["", "The files alone"]);
  else if (names.length > 1 && !wanted) names.unshift(["", "Choose a context"]);
  offer("context", takes ? names : [[pipeline.name, "its own"]], mayLack ? $("context").value : wanted);
  $("context").disabled = !takes;
  $("context").parentElement.hidden = !takes || !contexts.length;
  $("pipeline").parentElement.hidden = pipelines.length < 2;
  chips(takes ? contexts : []);
  const own = models.filter((model) => model.pipeline === pipeline.name);
  const called = (model) => `${model.name} (${model.id})`;
  const standard = own.find((model) => model.default);
  offer("model", [["", `${standard?.name} by default`], ...own.map((model) => [model.name, called(model)])], $("model").value);
  $("models-offered").hidden = own.length < 2;
  $("system").hidden = !pipeline.inputs.includes("systemPrompt");
  $("about").replaceChildren(takes && !contexts.length
    ? el("p", { class: "notice" }, "There is no context yet. ", ...(may("admin")
      ? [el("a", { href: "#contexts" }, "Create one"), ", and add documents to it."] : ["Whoever runs this server can make one, and let you see it."]))
    : el("p", { dir: "auto" }, takes && !mayLack && !$("context").value ? "Choose which context the question is about. " : "", pipeline.description));
}

// With files that are read no context need be asked beside them.
export function offerAlone(has) {
  if (has === mayLack || !pipelines.length) return;
  mayLack = has;
  offerRest();
}

// The contexts as buttons, where none or few are hidden by a list.
function chips(found) {
  $("chips").replaceChildren(...(found.length < 2 ? [] : found.slice(0, CHIPS)).map(({ name }) => el("button", {
    type: "button", class: "chip", "aria-pressed": String(name === $("context").value),
    onclick: () => { $("context").value = name; $("context").dispatchEvent(new Event("change")); },
  }, alone(name))));
  $("query").placeholder = found.length && $("context").value ? `Ask about ${$("context").value}` : mayLack ? "Ask about the files" : "Ask a question";
}

// Questions out of the titles of what is in the context.
export async function examples(ask) {
  const name = isStored() ? $("context").value : "";
  if (!name) return $("examples").replaceChildren();
  const { items } = await call("GET", `/contexts/${encodeURIComponent(name)}/items?limit=40`).catch(() => ({ items: [] }));
  if (name !== $("context").value) return undefined;
  const all = items.map(({ title }) => title).filter((title) => title && title.length < 80);
  // Of each document its own title first: those of its sections begin with it.
  const titles = [...new Set([...all.map((title) => title.split(" > ")[0]), ...all])].slice(0, EXAMPLES.length);
  return $("examples").replaceChildren(...titles.map((title, place) => {
    const question = EXAMPLES[place](title);
    return el("li", {}, el("button", { type: "button", class: "example", dir: "auto", onclick: () => ask(question) }, question));
  }));
}

// Keeps which context was asked, to choose it the next time.
export function remember() {
  if (isStored()) localStorage.setItem(choice("context"), $("context").value);
}

// What goes on before the first word comes.
export function searching() {
  const known = isStored() ? contexts.find(({ name }) => name === $("context").value) : null;
  return known ? `Searching ${counted(known.items, "item")} …` : "Reading …";
}

export const found = (items) => `Found ${counted(items, "item")} …`;

// By the name that the pipeline has for it, and the one that its service has.
export function asking(name) {
  const id = models.find((model) => model.pipeline === $("pipeline").value && model.name === name)?.id;
  return `Asking ${id && id !== name ? `${name} (${id})` : name} …`;
}

export function chosen() {
  const options = {};
  if ($("model").value) options.modelId = $("model").value;
  const prompt = $("system-prompt").value.trim();
  if (!$("system").hidden && prompt) options.systemPrompt = prompt;
  return { pipeline: $("pipeline").value, contextId: $("context").value, options };
}

// Whether a model that may answer takes images ("vision") or other files ("files").
export const takes = (capability) => models.some(({ pipeline, name, capabilities }) => pipeline === $("pipeline").value && ["", name].includes($("model").value) && capabilities.includes(capability));

// Whether the context that is chosen is one of the store, whose items can be opened.
export const isStored = () => Boolean(current()?.takesContext);

const current = () => pipelines.find(({ name }) => name === $("pipeline").value);

function offer(id, found, wanted) {
  $(id).replaceChildren(...found.map(([value, name]) => el("option", { value }, name)));
  if (found.some(([value]) => value === wanted)) $(id).value = wanted;
}
