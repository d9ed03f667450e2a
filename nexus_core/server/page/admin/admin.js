// The page for who administrates: keys and what they spend.

import { hasKey, keepKey, onKeyNeeded } from "../api.js";
import { askForKey } from "../dialogs.js";
import { $ } from "../dom.js";
import * as session from "../session.js";
import * as keys from "./keys.js";
import * as spend from "./spend.js";

const VIEWS = { keys, spend };

function view() {
  const wanted = location.hash.slice(1);
  if (wanted === "main") return;
  const shown = wanted in VIEWS ? wanted : "keys";
  for (const name of Object.keys(VIEWS)) $(`view-${name}`).hidden = name !== shown;
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.hash === `#${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  VIEWS[shown].show().then(session.know);
}

async function changeKey() {
  const why = hasKey() ? "Another key takes the place of the one in use; an empty field forgets it." : "No key is in use.";
  const key = await askForKey(why, "API key");
  if (key === null) return;
  keepKey(key);
  view();
}

onKeyNeeded((why) => askForKey(why));
$("change-key").addEventListener("click", changeKey);
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
for (const button of document.querySelectorAll("[data-closes]")) {
  button.addEventListener("click", () => $(button.dataset.closes).close());
}
addEventListener("hashchange", () => {
  for (const dialog of document.querySelectorAll("dialog[open]:not(#key-dialog, #once)")) dialog.close();
  view();
});
for (const part of [session, ...Object.values(VIEWS)]) part.begin();
view();
