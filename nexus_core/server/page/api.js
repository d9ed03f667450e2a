// The query API: JSON and streams, with a key where one is asked for.

import { events } from "./sse.js";

const prefix = document.querySelector("meta[name=prefix]").content;
const KEPT = "nexus.key";
const ADVICE = {
  0: "Check that the server runs and that this device can reach it, then try again.",
  400: "Change what you ask for, then try again.",
  401: "The button Key takes one.",
  403: "Use a key with more rights: the button Key changes it.",
  404: "It may have been removed meanwhile: reload the page to see what there is.",
  408: "The connection is slow, or the file is large: try again.",
  409: "Choose another name.",
  413: "Send less at once.",
  422: "Choose another file, or have installed on the server what reads this one.",
  429: "Wait a little, then try again.",
  500: "Tell whoever runs the server: its log has more under the request's id.",
  502: "The model service failed: see the attempts, try again, or choose another model or pipeline.",
  503: "Wait a few seconds, then try again.",
  504: "Try again, or ask for less.",
  507: "Whoever runs the server has to make room on its disk.",
};

export class ApiError extends Error {
  constructor(told, status) {
    super(told.error || `The server answered with status ${status}.`);
    this.status = status;
    this.code = told.code || "";
    this.requestId = told.requestId || "";
    this.attempts = told.attempts || [];
    this.advice = this.code === "sharing_off" ? "" : ADVICE[status === 400 && this.attempts.length ? 502 : status] || "";
  }
}

let askForKey = async () => null;
let asking = null;
export let isRefused = false; // Whether a key was asked for and not given.

export const onKeyNeeded = (ask) => { askForKey = ask; };
export const keyInUse = () => sessionStorage.getItem(KEPT);
export const hasKey = () => keyInUse() !== null;

export function keepKey(key) {
  isRefused = false;
  key ? sessionStorage.setItem(KEPT, key) : sessionStorage.removeItem(KEPT);
}

export async function call(method, path, body, options = {}) {
  const response = await send(method, path, body, options);
  return response.status === 204 ? null : await response.json();
}

// Sends a file to a context, and tells how much of it has gone, as a share of 1: `fetch` does not.
export function upload(context, file, onShare) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("file", file, file.name);
    const request = new XMLHttpRequest();
    request.open("POST", `${prefix}/contexts/${encodeURIComponent(context)}/documents`);
    request.responseType = "json";
    request.setRequestHeader("Accept", "application/json");
    const key = sessionStorage.getItem(KEPT);
    if (key !== null) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = ({ loaded, total }) => onShare(loaded / total);
    request.onload = () => {
      if (request.status < 300) resolve(request.response);
      else reject(new ApiError(request.response ?? {}, request.status));
    };
    request.onerror = () => reject(new ApiError({ error: "The server cannot be reached." }, 0));
    request.send(form);
  });
}

// Yields the events of an answer; the last one is an `end` or an `error`, or this throws. A stream that is cut is read on
// from its last event; one that is stopped ends its run, which would go on for a while else.
export async function* ask(body, signal) {
  let last = "";
  try {
    let response = await send("POST", "/queries", body, { signal });
    for (let tries = 0; tries < PAUSES_MS.length; tries += 1) {
      try {
        for await (const data of events(response.body, (id) => { last = id; })) {
          tries = 0;
          const event = JSON.parse(data);
          if (event.type === "gap") throw cut();
          if (event.statusCode) throw new ApiError(event, event.statusCode);
          yield event;
          if (event.type === "end") return;
        }
      } catch (error) {
        if (error instanceof ApiError || error.name === "AbortError") throw error;
      }
      if (!last) throw cut();
      response = await resume(last, signal, tries);
    }
    throw cut();
  } catch (error) {
    if (error.name === "AbortError" && last) send("DELETE", `/runs/${runOf(last)}`).catch(() => {});
    throw error;
  }
}

const PAUSES_MS = [100, 500, 1_000, 2_000, 4_000, 8_000, 8_000]; // A run waits for 30 seconds to be read on.
const runOf = (id) => encodeURIComponent(id.slice(0, id.lastIndexOf("-")));

async function resume(last, signal, tries) {
  for (const pause of PAUSES_MS.slice(tries)) {
    await new Promise((resolve) => { setTimeout(resolve, pause); });
    signal.throwIfAborted();
    try {
      return await send("GET", `/runs/${runOf(last)}/events`, undefined, { signal, last });
    } catch (error) {
      if (error.name === "AbortError" || ![0, 503].includes(error.status)) throw error.status === 404 ? cut() : error;
    }
  }
  throw cut();
}

const cut = () => new ApiError({ error: "The answer was cut off: the connection ended before the answer did." }, 0);

async function send(method, path, body, { signal, type, last, tries = 0 } = {}) {
  const used = sessionStorage.getItem(KEPT);
  const headers = { Accept: "application/json" };
  if (used !== null) headers.Authorization = `Bearer ${used}`;
  if (last) headers["Last-Event-ID"] = last;
  if (body !== undefined && !(body instanceof FormData)) headers["Content-Type"] = type || "application/json";
  const data = body === undefined || body instanceof Blob || body instanceof FormData ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(prefix + path, {
      method, headers, body: data, signal, cache: "no-store", credentials: "same-origin", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ error: "The server cannot be reached." }, 0);
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  const failed = new ApiError(told, response.status);
  if (response.status !== 401 || tries >= 5) throw failed;
  // Another request may have got a key while this one was on its way.
  if (sessionStorage.getItem(KEPT) === used) await newKey(used === null ? "" : failed.message, failed);
  return await send(method, path, body, { signal, type, last, tries: tries + 1 });
}

async function newKey(why, failed) {
  asking ??= askForKey(why).finally(() => { asking = null; });
  const key = await asking;
  isRefused = !key;
  if (!key) throw failed;
  keepKey(key);
}
