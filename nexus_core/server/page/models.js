// The models of all pipelines, with their figures.

import { call } from "./api.js";
import { $, el, figure, problem, time } from "./dom.js";

const EVERY_MS = 5000;
const COLUMNS = [
  ["Model", (model) => [el("strong", {}, model.name), model.default ? el("span", { class: "badge" }, "default") : null, el("br"), el("span", { class: "hint" }, model.id)]],
  ["Pipeline", (model) => [model.pipeline]],
  ["Provider", (model) => [model.provider]],
  ["Window", (model) => [figure(model.window)], true],
  ["Max output", (model) => [figure(model.maxOutput)], true],
  ["Can", (model) => [model.capabilities.join(", ")]],
  ["Requests", (_, used) => [figure(used.requests)], true],
  ["Succeeded", (_, used) => [used.successRate === null ? "–" : `${(used.successRate * 100).toFixed(1)} %`], true],
  ["Tokens in", (_, used) => [figure(used.promptTokens)], true],
  ["Tokens out", (_, used) => [figure(used.completionTokens)], true],
  ["Mean time", (_, used) => [time(used.meanS === null ? null : used.meanS * 1000)], true],
  ["p95", (_, used) => [time(used.p95S === null ? null : used.p95S * 1000)], true],
];

let timer = 0;

export function show() {
  clearTimeout(timer);
  refresh();
}

export function hide() {
  clearTimeout(timer);
}

async function refresh() {
  const goes = document.visibilityState !== "visible" || await draw();
  if (goes && !$("view-models").hidden) timer = setTimeout(refresh, EVERY_MS);
}

// Tells whether it is worth to go on.
async function draw() {
  try {
    const { models } = await call("GET", "/queries/models");
    const { usage } = await call("GET", "/queries/usage");
    const figures = new Map(usage.map((used) => [`${used.pipeline}/${used.name}`, used]));
    const rows = models.map((model) => row(model, figures.get(`${model.pipeline}/${model.name}`)));
    const heads = COLUMNS.map(([name, , right]) => el("th", { scope: "col", class: right ? "number" : "" }, name));
    $("models").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)));
    $("models-said").replaceChildren();
    return true;
  } catch (error) {
    $("models-said").replaceChildren(problem(error));
    return error.status !== 401; // Who has just refused to give a key is not asked again every few seconds.
  }
}

function row(model, used) {
  return el("tr", {}, ...COLUMNS.map(([, cells, right]) =>
    el("td", { class: right ? "number" : "" }, ...cells(model, used).filter(Boolean))));
}
