// The dialogs that any view opens: a question before something is lost, the key.

import { $, alone } from "./dom.js";

// Tells whether the user wants it in earnest; `what` is foreign text.
export function sure(verb, what, lost) {
  return new Promise((resolve) => {
    let is = false;
    $("sure-title").replaceChildren(`${verb} `, alone(what), "?");
    $("sure-lost").textContent = lost;
    $("sure-yes").textContent = verb;
    $("sure-yes").onclick = () => { is = true; $("sure").close(); };
    // A dialog that is open again tells late of the time before.
    $("sure").onclose = () => { if (!$("sure").open) resolve(is); };
    $("sure").showModal();
    $("sure-no").focus();
  });
}

// Gives the key, an empty text for none, and null where the question was not answered.
export function askForKey(why, title = "This server asks for a key") {
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
    dialog.onclose = () => { if (!dialog.open) { $("key").value = ""; resolve(given); } };
    dialog.showModal();
    $("key").focus();
  });
}

export function begin() {
  for (const [button, dialog] of [["passage-close", "passage"], ["item-close", "item"], ["sure-no", "sure"], ["key-cancel", "key-dialog"]]) {
    $(button).addEventListener("click", () => $(dialog).close());
  }
  for (const dialog of [$("passage"), $("item")]) {
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
}
