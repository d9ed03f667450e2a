// What a question goes to: the pipeline, its context, its model, its system prompt.

import { call } from "./api.js";
import { $, el } from "./dom.js";

let pipelines = [];
let contexts = [];
let models = [];

export async function load() {
  // One after the other: without a key the first alone fails.
  pipelines = (await call("GET", "/pipelines")).pipelines;
  contexts = (await call("GET", "/contexts")).contexts;
  models = (await call("GET", "/queries/models")).models;
  const names = pipelines.map(({ name }) => [name, name]);
  offer("pipeline", names, $("pipeline").value || pipelines.find((pipeline) => pipeline.default)?.name);
  offerRest();
}

// Chooses what an address names; tells what of it there is not.
export function choose(pipeline, context) {
  const missing = [];
  for (const [id, value] of [["pipeline", pipeline], ["context", context]]) {
    if (!value) continue;
    if ([...$(id).options].some((option) => option.value === value)) $(id).value = value;
    else missing.push(`There is no ${id} “${value}” here any more.`);
    if (id === "pipeline") offerRest();
  }
  return missing.join(" ");
}

export function offerRest() {
  const pipeline = current();
  const takes = pipeline.takesContext;
  offer("context", takes ? contexts.map(({ name }) => [name, name]) : [[pipeline.name, "its own"]], $("context").value);
  $("context").disabled = !takes;
  const own = models.filter((model) => model.pipeline === pipeline.name);
  const called = (model) => `${model.name} (${model.id})`;
  const standard = own.find((model) => model.default);
  offer("model", [["", `as the pipeline says: ${standard?.name}`], ...own.map((model) => [model.name, called(model)])], $("model").value);
  $("models-offered").hidden = own.length < 2;
  $("system").hidden = !pipeline.inputs.includes("systemPrompt");
  $("about").replaceChildren(takes && !contexts.length
    ? el("p", { class: "notice" }, "There is no context yet. ", el("a", { href: "#contexts" }, "Create one"), ", and add documents to it.")
    : el("p", { dir: "auto" }, pipeline.description));
}

export function chosen() {
  const options = {};
  if ($("model").value) options.modelId = $("model").value;
  const prompt = $("system-prompt").value.trim();
  if (!$("system").hidden && prompt) options.systemPrompt = prompt;
  return { pipeline: $("pipeline").value, contextId: $("context").value, options };
}

// Whether the context that is chosen is one of the store, whose items can be opened.
export const isStored = () => Boolean(current()?.takesContext);

const current = () => pipelines.find(({ name }) => name === $("pipeline").value);

function offer(id, found, wanted) {
  $(id).replaceChildren(...found.map(([value, name]) => el("option", { value }, name)));
  if (found.some(([value]) => value === wanted)) $(id).value = wanted;
}
