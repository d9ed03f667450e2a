// Who is signed in, where the server has a sign-in.

import { keepKey } from "./api.js";
import { $ } from "./dom.js";

export async function begin() {
  $("sign-out").addEventListener("click", signOut);
  const links = [$("sign-in"), document.querySelector("#key-dialog .sign-in a")];
  // The page goes on where it is; the admin page begins anew.
  const address = () => `auth/login?next=${encodeURIComponent(document.querySelector("#view-ask") ? location.hash : "")}`;
  for (const link of links) {
    link.href = "auth/login";
    link.addEventListener("click", () => { link.href = address(); keepKey(""); });
  }
  const { signIn, person } = await fetch("auth/session", { cache: "no-store" }).then((told) => told.json()).catch(() => ({}));
  $("sign-in").hidden = !signIn || Boolean(person);
  document.querySelector("#key-dialog .sign-in").hidden = !signIn;
  $("person").hidden = $("sign-out").hidden = !person;
  if (!person) return;
  $("person").textContent = person.name;
  const admin = $("to-admin");
  if (admin) admin.hidden = !person.isAdmin;
}

async function signOut() {
  await fetch("auth/session", { method: "DELETE", cache: "no-store" });
  keepKey("");
  location.reload();
}
