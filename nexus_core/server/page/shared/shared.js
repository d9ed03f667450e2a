// A conversation that somebody shares, by the token after `#`: read, and nothing else.

import { call, hasKey, keepKey, onKeyNeeded } from "../api.js";
import { Turn } from "../answer.js";
import { askForKey } from "../dialogs.js";
import { $, alone, el, trying, when } from "../dom.js";
import { layOut, Slice } from "../growing.js";
import * as passages from "../passages.js";
import * as session from "../session.js";

let shown = 0; // Another link, or another key, makes what comes for the one before void.

async function show() {
  const token = location.hash.slice(1);
  const mine = (shown += 1);
  const slice = new Slice();
  $("thread").replaceChildren();
  await trying("shared-said", async () => {
    for (let after = 0; after !== null;) {
      const told = await call("GET", `/shared/${encodeURIComponent(token)}?limit=200&after=${after}`);
      if (mine !== shown) return;
      if (after === 0) head(told);
      for (const { query, response, contextId, contextItems, files } of told.turns) {
        await new Turn(query, { contextId: contextId ?? "", passages: contextItems, files }).show(response);
        if (slice.isOver) await slice.next();
        if (mine !== shown) return;
      }
      after = told.next;
    }
    layOut($("thread").querySelectorAll(".answer"));
    $("shared-title").focus({ preventScroll: true });
  });
}

function head({ title, created, expires, isPartial }) {
  const name = title || "Shared conversation";
  document.title = `${name} · ContextNexus`;
  $("shared-title").replaceChildren(alone(name));
  $("shared-about").textContent = `Read-only, as it was on ${when(created)}.${expires ? ` The link holds until ${when(expires)}.` : ""}`;
  if (isPartial) $("shared-said").replaceChildren(el("p", { class: "notice" }, "Some of it is not shown: it is made of documents that you may not see, or was asked again since."));
}

async function changeKey() {
  const key = await askForKey(hasKey() ? "Another key takes the place of the one in use; an empty field forgets it." : "No key is in use.", "API key");
  if (key === null) return;
  keepKey(key);
  show();
}

onKeyNeeded((why) => askForKey(why));
$("change-key").addEventListener("click", changeKey);
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
for (const button of document.querySelectorAll("[data-closes]")) button.addEventListener("click", () => $(button.dataset.closes).close());
$("passage").addEventListener("click", (event) => { if (event.target === $("passage")) $("passage").close(); });
addEventListener("hashchange", () => { $("passage").close(); show(); });
session.begin();
// Whoever signs in comes back to the main page, which leads here again.
for (const link of document.querySelectorAll("#sign-in, #key-dialog .sign-in a")) {
  link.addEventListener("click", () => { link.href = `auth/login?next=${encodeURIComponent(`#shared/${location.hash.slice(1)}`)}`; });
}
passages.begin();
show();
