// The page: which of its views is seen, by the part of the address after `#`, and the key.

import { hasKey, keepKey, onKeyNeeded } from "./api.js";
import * as ask from "./ask.js";
import * as contexts from "./contexts.js";
import * as conversations from "./conversations.js";
import * as dialogs from "./dialogs.js";
import { $ } from "./dom.js";
import * as models from "./models.js";
import * as session from "./session.js";

const VIEWS = { ask, conversations, contexts, models };

function view() {
  const [wanted, ...rest] = location.hash.slice(1).split("/").map(plain);
  if (wanted === "main") return;
  const shown = wanted in VIEWS ? wanted : "ask";
  for (const name of Object.keys(VIEWS)) $(`view-${name}`).hidden = name !== shown;
  for (const link of document.querySelectorAll("header nav a")) {
    const is = link.hash === `#${shown}`;
    if (is) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (is) document.title = `${link.textContent} · ContextNexus`;
  }
  VIEWS[shown].show(rest);
}

function plain(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function changeKey() {
  const why = hasKey() ? "Another key takes the place of the one in use; an empty field forgets it." : "No key is in use.";
  const key = await dialogs.askForKey(why, "API key");
  if (key === null) return;
  keepKey(key);
  view();
}

onKeyNeeded((why) => dialogs.askForKey(why));
$("change-key").addEventListener("click", changeKey);
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
addEventListener("hashchange", () => {
  // What a dialog tells is of the address that is left.
  for (const dialog of document.querySelectorAll("dialog[open]:not(#key-dialog)")) dialog.close();
  view();
});
for (const part of [dialogs, session, ...Object.values(VIEWS)]) part.begin();
view();
