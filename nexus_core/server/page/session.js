// Who is signed in, where the server has a sign-in; and what whoever asks may do.

import { call, keepKey, keyInUse } from "./api.js";
import { $ } from "./dom.js";

const SCOPES = ["query", "read", "admin"];
let scopes = new Set(SCOPES); // What is not known yet is shown: the server decides.
let known; // The key that is known.
let owner = ""; // Who asks, as the server calls them.

export const may = (scope) => scopes.has(scope) || scopes.has("admin");

// Under which name this browser keeps what somebody has chosen.
export const choice = (name) => `nexus.${name}.${owner}`;

// Hides what the key of this tab may not do.
export async function know() {
  const key = keyInUse();
  if (known === key) return;
  const told = await call("GET", "/identity").catch(() => null);
  known = told ? keyInUse() : undefined;
  owner = told?.owner ?? "";
  scopes = new Set(told ? told.scopes : SCOPES);
  document.body.classList.toggle("not-share", told?.mayShare === false);
  for (const scope of SCOPES) document.body.classList.toggle(`not-${scope}`, !may(scope));
}

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
