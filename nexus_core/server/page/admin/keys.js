// Keys: listed with what they spend, made, limited, rotated, revoked.

import { call } from "../api.js";
import { sure } from "../dialogs.js";
import { $, alone, el, figure, joined, money, trying, when } from "../dom.js";

const HOUR_S = 3600;
const COLUMNS = [
  ["Key", ({ id, owner }) => [el("strong", {}, alone(owner)), el("br"), el("code", {}, id)]],
  ["Expires", (key) => [state(key)]],
  ["Scopes", ({ scopes }) => [scopes.join(", ")]],
  ["Access", (key) => joined(...sees(key))],
  ["Limits", (key) => joined(...limits(key))],
  ["Last used", ({ used }) => [used === null ? "never" : when(used)]],
  ["Tokens", (_, spent) => [figure(spent.tokens)], true],
  ["Cost", (_, spent) => [spent.requests ? money(spent.cost) : "–"], true],
  ["", (key) => [key.holds ? actions(key) : ""]],
];

let chosen = null;

export function begin() {
  $("new").addEventListener("click", () => { $("new-form").reset(); $("new-said").replaceChildren(); $("new-dialog").showModal(); });
  $("new-form").addEventListener("submit", make);
  $("rotate-form").addEventListener("submit", rotate);
  $("limit-form").addEventListener("submit", limit);
  $("see-form").addEventListener("submit", see);
  $("ended").addEventListener("change", show);
  $("copy").addEventListener("click", copy);
  $("once").addEventListener("close", () => { $("once-text").textContent = ""; show(); });
}

export const show = () => trying("keys-said", draw);

async function draw() {
  const { keys } = await call("GET", "/keys");
  const spent = sums((await call("GET", "/spend?by=key")).spend);
  const shown = keys.filter((key) => key.holds || $("ended").checked).reverse();
  const heads = COLUMNS.map(([name, , right]) => el("th", { scope: "col", class: right ? "number" : "" }, name || el("span", { class: "unseen" }, "Actions")));
  const rows = shown.map((key) => row(key, spent.get(key.id) || { requests: 0, tokens: 0, cost: null }));
  $("keys").replaceChildren(shown.length
    ? el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows))
    : el("p", {}, "There is no key: requests from this machine are served without one, all others are refused. Once there is a key, every request needs one: create a key with the scope admin for yourself first."));
}

const row = (key, spent) => el("tr", { "data-key": key.id }, ...COLUMNS.map(([name, cells, right]) =>
  el("td", { class: right ? "number" : "", "data-name": name }, el("div", {}, ...cells(key, spent)))));

export function sums(rows) {
  const found = new Map();
  for (const { name, requests, promptTokens, completionTokens, cost } of rows) {
    const sum = found.get(name) || { requests: 0, tokens: 0, cost: null };
    sum.requests += requests;
    sum.tokens += promptTokens + completionTokens;
    if (cost !== null) sum.cost = (sum.cost || 0) + cost;
    found.set(name, sum);
  }
  return found;
}

function state({ revoked, expires, holds }) {
  if (revoked !== null) return `revoked ${when(revoked)}`;
  if (expires === null) return "never";
  return holds ? when(expires) : `expired ${when(expires)}`;
}

function sees({ scopes, groups, contexts, tags }) {
  if (scopes.includes("admin") && contexts === null && tags === null) return ["everything"];
  const told = [...groups, ...(contexts || []).map((name) => `context ${name}`), ...(tags || []).map((tag) => `tag ${tag}`)];
  return told.length ? told : ["unrestricted only"];
}

const limits = ({ concurrency, requestsPerMinute, tokensPerMinute }) => [
  `${figure(concurrency)} at once`,
  requestsPerMinute !== null && `${figure(requestsPerMinute)} requests/min`,
  tokensPerMinute !== null && `${figure(tokensPerMinute)} tokens/min`,
];

function actions(key) {
  const of = `the key ${key.id} of ${key.owner}`;
  const button = (verb, does) => el("button", { type: "button", class: "quiet small", "aria-label": `${verb} ${of}`, onclick: () => does(key) }, verb);
  return el("div", { class: "row" }, button("Rotate", askRotate), button("Limits", askLimit), button("Access", askSee), button("Revoke", revoke));
}

const names = (id) => $(id).value.split(",").map((name) => name.trim()).filter(Boolean);
const number = (id) => ($(id).value === "" ? null : Number($(id).value));

async function make(event) {
  event.preventDefault();
  await trying("new-said", async () => {
    const days = number("days");
    const made = await call("POST", "/keys", {
      owner: $("owner").value, scopes: $("scopes").value.split(" "), livesS: days === null ? null : days * 24 * HOUR_S,
      groups: names("groups"), contexts: names("contexts"), tags: names("tags"), ...limitsOf("new-"),
    });
    $("new-dialog").close();
    showOnce(made, "It is valid from now on.");
  });
}

const limitsOf = (prefix) => ({
  requestsPerMinute: number(`${prefix}requests`), tokensPerMinute: number(`${prefix}tokens`), concurrency: number(`${prefix}concurrency`),
});

function showOnce({ key, text }, about) {
  $("once-about").replaceChildren(`Key ${key.id} of `, alone(key.owner), `. ${about}`);
  $("once-text").textContent = text;
  $("copied").textContent = "";
  $("once").showModal();
}

async function copy() {
  await navigator.clipboard.writeText($("once-text").textContent).then(
    () => { $("copied").textContent = "Copied."; },
    () => { $("copied").textContent = "The browser does not allow it: select the key and copy it."; },
  );
}

function askRotate(key) {
  chosen = key;
  $("rotate-title").replaceChildren(`Rotate the key ${key.id} of `, alone(key.owner));
  $("rotate-said").replaceChildren();
  $("rotate").showModal();
  $("overlap").focus();
}

async function rotate(event) {
  event.preventDefault();
  await trying("rotate-said", async () => {
    const made = await call("POST", `/keys/${chosen.id}/rotate`, { overlapS: number("overlap") * HOUR_S });
    $("rotate").close();
    showOnce(made, `It replaces ${made.previous.id}, which is valid until ${when(made.previous.expires)}.`);
  });
}

function askLimit(key) {
  chosen = key;
  $("limit-title").replaceChildren(`Limits of the key ${key.id} of `, alone(key.owner));
  $("limit-said").replaceChildren();
  $("requests").value = key.requestsPerMinute ?? "";
  $("tokens").value = key.tokensPerMinute ?? "";
  $("concurrency").value = key.concurrency;
  $("limit").showModal();
}

async function limit(event) {
  event.preventDefault();
  await trying("limit-said", async () => {
    await call("PUT", `/keys/${chosen.id}/limits`, limitsOf(""));
    $("limit").close();
    await draw();
    $("keys-said").replaceChildren(`The limits of ${chosen.id} are set.`);
  });
}

function askSee(key) {
  chosen = key;
  $("see-title").replaceChildren(`Access of the key ${key.id} of `, alone(key.owner));
  $("see-said").replaceChildren();
  for (const name of ["groups", "contexts", "tags"]) $(`see-${name}`).value = (key[name] || []).join(", ");
  $("see").showModal();
}

async function see(event) {
  event.preventDefault();
  await trying("see-said", async () => {
    await call("PUT", `/keys/${chosen.id}/view`, { groups: names("see-groups"), contexts: names("see-contexts"), tags: names("see-tags") });
    $("see").close();
    await draw();
    $("keys-said").replaceChildren(`The access of ${chosen.id} is set.`);
  });
}

async function revoke({ id, owner }) {
  if (!await sure("Revoke", `${id} of ${owner}`, "Requests with this key are refused from now on. This cannot be undone.")) return;
  await trying("keys-said", async () => {
    await call("DELETE", `/keys/${id}`);
    await draw();
    $("keys-said").replaceChildren(`Revoked ${id}.`);
    $("keys-title").focus();
  });
}
