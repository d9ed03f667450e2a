// The page: which of its views is seen, by the part of the address after `#`, the sidebar, and the key.

import { hasKey, isRefused, keepKey, onKeyNeeded } from "./api.js";
import * as ask from "./ask.js";
import * as conversations from "./conversations.js";
import * as dialogs from "./dialogs.js";
import { $, trying } from "./dom.js";
import * as passages from "./passages.js";
import * as session from "./session.js";

// Those that the first paint does not need are loaded when they are opened.
const VIEWS = { ask, contexts: () => import("./views/contexts.js"), models: () => import("./views/models.js") };
const begun = new Set([ask]);
let isKnown = false; // Whether the list of conversations is there, and what the key may do.

async function view(hash = location.hash) {
  const [wanted, ...rest] = hash.slice(1).split("/").map(plain);
  if (wanted === "main") return;
  if (wanted === "shared") return location.replace(`shared#${rest[0]}`);
  drawer(wanted === "conversations");
  const shown = wanted in VIEWS ? wanted : "ask";
  for (const name of Object.keys(VIEWS)) $(`view-${name}`).hidden = name !== shown;
  // The link that led here is gone, and its focus would be, too.
  if (shown === "ask" && document.activeElement.closest("main [hidden]")) $("query").focus();
  for (const link of document.querySelectorAll("header nav a")) {
    const is = link.hash === `#${shown}`;
    if (is) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (is) document.title = `${link.textContent} · ContextNexus`;
  }
  const opened = shown === "ask" ? ask : await trying(`${shown}-said`, VIEWS[shown]);
  if (!opened) return;
  if (!begun.has(opened)) opened.begin();
  begun.add(opened);
  await opened.show(rest);
  if (isKnown || isRefused) return;
  isKnown = true;
  await session.know();
  if (session.may("query")) await conversations.refresh();
  else if (shown === "ask" && session.may("read")) location.hash = "contexts";
}

function plain(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// The sidebar of a small screen.
function drawer(isOpen) {
  document.body.classList.toggle("drawn", isOpen);
  $("menu").setAttribute("aria-expanded", String(isOpen));
  $("shade").hidden = !isOpen;
}

async function changeKey() {
  const why = hasKey() ? "Another key takes the place of the one in use; an empty field forgets it." : "No key is in use.";
  const key = await dialogs.askForKey(why, "API key");
  if (key === null) return;
  keepKey(key);
  isKnown = false;
  view();
}

// What a keyboard on the screen covers, where the window does not shrink for it.
function keyboard() {
  const { height, offsetTop } = visualViewport;
  document.documentElement.style.setProperty("--keyboard", `${Math.max(0, innerHeight - height - offsetTop)}px`);
}

onKeyNeeded((why) => dialogs.askForKey(why));
$("change-key").addEventListener("click", changeKey);
$("menu").addEventListener("click", () => drawer(!document.body.classList.contains("drawn")));
$("shade").addEventListener("click", () => drawer(false));
$("drawer").addEventListener("click", (event) => { if (event.target.closest("a, #fresh")) drawer(false); });
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !document.body.classList.contains("drawn")) return;
  drawer(false);
  $("menu").focus();
});
window.visualViewport?.addEventListener("resize", keyboard);
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
addEventListener("hashchange", ({ newURL }) => {
  // What a dialog tells is of the address that is left.
  for (const dialog of document.querySelectorAll("dialog[open]:not(#key-dialog)")) dialog.close();
  view(new URL(newURL).hash); // Another may stand in its place by now, of what was opened before.
});
// A file that misses the place to drop it would otherwise take the place of the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
for (const part of [dialogs, session, passages, conversations, ask]) part.begin();
view();
