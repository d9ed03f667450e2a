// The models of all pipelines, with figures, and which answers by default.

import { call } from "../api.js";
import { sure } from "../dialogs.js";
import { $, alone, counted, el, figure, joined, money, problem, time, trying } from "../dom.js";

const EVERY_MS = 5000;
const COLUMNS = [
  ["Model", (model) => [el("strong", {}, alone(model.name)), el("br"), el("span", { class: "hint" }, ...joined(model.id, model.provider !== model.id && model.provider))]],
  ["Pipeline", (model) => [alone(model.pipeline)]],
  ["Default", (model) => [model.default ? el("span", { class: "badge" }, "default") : making(model)]],
  ["Window", (model) => [figure(model.window), model.maxOutput === null ? null : el("div", { class: "hint" }, `answers up to ${figure(model.maxOutput)}`)], true],
  ["$ in / out per million", (model) => prices(model), true],
  ["This month", (_, { month }) => (month ? [money(month.cost), unpriced(month), el("div", { class: "hint" }, counted(month.requests, "request"))] : ["not kept"]), true],
  ["Cost", (_, used) => [money(used.cost), unpriced(used)], true],
  ["Requests", (_, used) => [figure(used.requests), failures(used)], true],
  ["Succeeded", (_, used) => [used.successRate === null ? "–" : `${(used.successRate * 100).toFixed(1)} %`], true],
  ["Tokens in / out", (_, used) => [`${figure(used.promptTokens)} / ${figure(used.completionTokens)}`], true],
  ["Mean time / p95", (_, used) => [`${seconds(used.meanS)} / ${seconds(used.p95S)}`], true],
  ["Can", (model) => [model.capabilities.join(", ") || "–"]],
];

let timer = 0;

export function begin() {
  $("clear-figures").addEventListener("click", clear);
  document.addEventListener("visibilitychange", () => { if (!$("view-models").hidden) show(); });
}

export function show() {
  clearTimeout(timer);
  refresh();
}

async function refresh() {
  if ($("view-models").hidden) return;
  const goes = document.visibilityState !== "visible" || await draw();
  clearTimeout(timer);
  if (goes) timer = setTimeout(refresh, EVERY_MS);
}

// Tells whether it is worth to go on.
async function draw() {
  try {
    const { models } = await call("GET", "/queries/models");
    const { usage } = await call("GET", "/queries/usage");
    const figures = new Map(usage.map((used) => [key(used), used]));
    const rows = models.map((model) => row(model, figures.get(key(model))));
    const heads = COLUMNS.map(([name, , right]) => el("th", { scope: "col", class: right ? "number" : "" }, name));
    $("models-month").replaceChildren(...month(usage));
    const focused = document.activeElement?.getAttribute("data-model");
    $("models").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)));
    $("models-said").querySelector(".problem")?.remove();
    if (focused) ([...document.querySelectorAll("#models button")].find((each) => each.getAttribute("data-model") === focused) || $("models")).focus();
    return true;
  } catch (error) {
    $("models-said").replaceChildren(problem(error));
    return error.status !== 401; // Who has just refused to give a key is not asked again every few seconds.
  }
}

const key = ({ pipeline, name }) => `${pipeline}/${name}`;

// What a million tokens cost; those that the service has read before, and long prompts, where that is another price.
function prices({ prices: known }) {
  if (!known) return ["unknown"];
  const other = [known.cached !== known.input && `read again ${known.cached}`, known.long && `from ${figure(known.longFrom)} tokens on ${known.long.input} / ${known.long.output}`].filter(Boolean);
  return [`${known.input} / ${known.output}`, ...other.map((said) => el("div", { class: "hint" }, said))];
}

// What all models that are seen have cost this month.
function month(usage) {
  const kept = usage.map((used) => used.month).filter(Boolean);
  if (!kept.length) return ["What is spent in a month is kept for pipelines with ", el("code", {}, "sinks: [{use: store}]"), "."];
  const known = kept.filter(({ cost }) => cost !== null).reduce((sum, { cost }) => sum + cost, 0);
  const unknown = kept.reduce((sum, { unpriced: count }) => sum + count, 0);
  const requests = kept.reduce((sum, { requests: count }) => sum + count, 0);
  return [`Since ${kept[0].since} (UTC): ${money(known)} for ${counted(requests, "request")}${unknown ? `, of which ${figure(unknown)} of unknown cost` : ""}.`];
}

const seconds = (value) => time(value === null ? null : value * 1000);

function row(model, used) {
  return el("tr", {}, ...COLUMNS.map(([name, cells, right]) =>
    el("td", { class: right ? "number" : "", "data-name": name }, el("div", {}, ...cells(model, used).filter(Boolean)))));
}

function failures({ outcomes }) {
  const found = Object.entries(outcomes).filter(([name, count]) => count && name !== "ok");
  return found.length ? el("div", { class: "hint" }, "failed: ", found.map(([name, count]) => `${name.replaceAll("_", " ")} ${count}`).join(", ")) : null;
}

function unpriced({ cost, unpriced: count }) {
  return cost !== null && count ? el("div", { class: "hint" }, `and ${figure(count)} of unknown cost`) : null;
}

function making(model) {
  const choose = () => trying("models-said", async () => {
    await call("PUT", "/queries/models/default", { modelId: model.name, pipeline: model.pipeline });
    await draw();
    $("models-said").replaceChildren(alone(model.name), " is now the default of ", alone(model.pipeline), " until the server stops.");
  });
  return el("button", {
    type: "button", class: "quiet small for-admin", "data-model": key(model), "aria-label": `Make ${model.name} the default of ${model.pipeline}`, onclick: choose,
  }, "Make default");
}

async function clear() {
  if (!await sure("Clear", "the figures of all models", "Requests, failures, tokens and times begin at nothing for everybody who looks here. Metrics at /metrics go on.")) return;
  await trying("models-said", async () => {
    await call("DELETE", "/queries/usage");
    await draw();
    $("models-said").replaceChildren("Cleared.");
  });
}
