// Spend: tokens and money by day, of keys, owners or groups.

import { call } from "../api.js";
import { $, alone, el, figure, money, trying } from "../dom.js";

const DAYS = 31;
const COLUMNS = [
  ["Day", ({ day }) => [day]],
  ["Name", ({ name }, owners) => [owners.has(name) ? el("span", {}, alone(owners.get(name)), " ", el("code", {}, name)) : alone(name)]],
  ["Requests", ({ requests }) => [figure(requests)], true],
  ["Tokens in", ({ promptTokens }) => [figure(promptTokens)], true],
  ["Tokens out", ({ completionTokens }) => [figure(completionTokens)], true],
  ["Unreported", ({ unreported }) => [figure(unreported)], true],
  ["Cost", ({ cost, unpriced }) => [money(cost), cost !== null && unpriced ? el("div", { class: "hint" }, `and ${figure(unpriced)} of unknown cost`) : ""], true],
];

export function begin() {
  const first = new Date(Date.now() - DAYS * 24 * 3600 * 1000);
  $("since").value = first.toISOString().slice(0, 10);
  $("spend-form").addEventListener("submit", (event) => { event.preventDefault(); show(); });
  $("by").addEventListener("change", show);
}

export const show = () => trying("spend-said", draw);

async function draw() {
  const by = $("by").value;
  const since = $("since").value ? `&since=${encodeURIComponent($("since").value)}` : "";
  const { spend } = await call("GET", `/spend?by=${by}${since}`);
  const owners = new Map(by === "key" ? (await call("GET", "/keys")).keys.map(({ id, owner }) => [id, owner]) : []);
  const heads = COLUMNS.map(([name, , right]) => el("th", { scope: "col", class: right ? "number" : "" }, name));
  const rows = spend.map((each) => el("tr", {}, ...COLUMNS.map(([name, cells, right]) =>
    el("td", { class: right ? "number" : "", "data-name": name }, el("div", {}, ...cells(each, owners))))));
  $("spend").replaceChildren(spend.length
    ? el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows))
    : el("p", {}, "Nothing was used."));
}
