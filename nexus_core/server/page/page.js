// The page: its three views, the passage that a citation opens, and the key.

import { hasKey, keepKey, onKeyNeeded } from "./api.js";
import * as asking from "./ask.js";
import * as contexts from "./contexts.js";
import { $ } from "./dom.js";
import * as models from "./models.js";

const VIEWS = ["ask", "contexts", "models"];

function view() {
  const wanted = location.hash.slice(1);
  if (wanted === "main") return;
  const shown = VIEWS.includes(wanted) ? wanted : "ask";
  for (const name of VIEWS) $(`view-${name}`).hidden = name !== shown;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown === "models") models.show();
  else models.hide();
  if (shown === "contexts") contexts.refresh();
  if (shown === "ask") asking.refresh();
}

function openPassage(passage) {
  $("passage-title").textContent = `${passage.number ? `${passage.number}. ` : ""}${passage.title || passage.id}`;
  $("passage-about").textContent = [
    passage.source || passage.id,
    passage.whole ? "the whole item" : "the part of it that was sent",
    passage.relevance === undefined ? "" : `relevance ${passage.relevance.toPrecision(3)}`,
  ].filter(Boolean).join(" · ");
  $("passage-text").textContent = passage.text;
  $("passage").showModal();
  $("passage-text").scrollTop = 0;
}

// Gives the key, an empty text for none, and null where the question was not answered.
function keyDialog(why, title = "This server asks for a key") {
  return new Promise((resolve) => {
    const dialog = $("key-dialog");
    let given = null;
    $("key-title").textContent = title;
    $("key-why").textContent = why;
    $("key").value = "";
    $("key-form").onsubmit = (event) => {
      event.preventDefault();
      given = $("key").value.trim();
      dialog.close();
    };
    $("key-cancel").onclick = () => dialog.close();
    dialog.onclose = () => { $("key").value = ""; resolve(given); };
    dialog.showModal();
    $("key").focus();
  });
}

async function changeKey() {
  const why = hasKey() ? "Another key takes the place of the one in use; an empty field forgets it." : "No key is in use.";
  const key = await keyDialog(why, "API key");
  if (key === null) return;
  keepKey(key);
  view();
}

onKeyNeeded((why) => keyDialog(why));
$("change-key").addEventListener("click", changeKey);
$("passage-close").addEventListener("click", () => $("passage").close());
$("passage").addEventListener("click", (event) => { if (event.target === $("passage")) $("passage").close(); });
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
addEventListener("hashchange", view);
document.addEventListener("visibilitychange", () => { if (!$("view-models").hidden) models.show(); });
asking.begin(openPassage);
contexts.begin(openPassage);
view();
