// The link by which others read a conversation: made, copied and withdrawn in a dialog, which is loaded when it is opened.

import { call } from "../api.js";
import { $, alone, counted, el, trying, when } from "../dom.js";
import { copied } from "../markdown.js";

const DAYS = [["", "until you withdraw it"], ["1", "for a day"], ["7", "for a week"], ["30", "for 30 days"]];

export async function share({ id, title }) {
  const path = `/conversations/${encodeURIComponent(id)}/link`;
  const state = el("p");
  const address = el("input", { readOnly: true, "aria-label": "Link" });
  const days = el("select", {}, ...DAYS.map(([value, name]) => el("option", { value }, name)));
  const copy = el("button", { type: "button", onclick: async () => { await copied(copy, address.value); address.select(); } }, "Copy");
  const made = el("div", { class: "row", hidden: true }, el("label", { class: "grow" }, "The link, shown this once", address), copy);
  const make = el("button", { type: "button", class: "make", onclick: () => trying("link-said", create) });
  const end = el("button", { type: "button", class: "danger withdraw", onclick: () => trying("link-said", withdraw) }, "Withdraw");
  const close = el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Close");
  const dialog = el("dialog", { id: "link", "aria-labelledby": "link-title", onclose: () => dialog.remove() },
    el("h2", { id: "link-title" }, "Share ", alone(title || id)),
    el("p", { class: "hint" }, "Whoever has the link and may use this server reads the questions and answers until now, and of these only what is made of documents that they may see."),
    state, el("label", {}, "The link holds ", days), made, el("div", { id: "link-said", role: "status" }),
    el("div", { class: "row" }, make, end, close));

  const draw = (link) => {
    state.textContent = link ? `Shared on ${when(link.created)}: ${counted(link.turns, "question")}. The link ${link.expires ? `holds until ${when(link.expires)}` : "does not expire"}.` : "Not shared.";
    make.textContent = link ? "Make a new link" : "Make a link";
    end.hidden = !link;
    if (!link) made.hidden = true;
  };
  const create = async () => {
    const { link, token } = await call("PUT", path, days.value ? { livesS: days.value * 86_400 } : {});
    address.value = new URL(`shared#${token}`, location.href).href;
    made.hidden = false;
    copy.textContent = "Copy";
    draw(link);
    copy.focus();
  };
  const withdraw = async () => {
    await call("DELETE", path);
    draw(null);
    $("link-said").textContent = "Withdrawn: the link leads to nothing now.";
    make.focus();
  };

  document.body.append(dialog);
  draw((await call("GET", path)).link);
  dialog.showModal();
}
