// Elements from data: whatever is shown goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else if (key.includes("-") || key === "role" || key === "for" || key === "scope") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const figure = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

export function time(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

export function problem(error) {
  return el("div", { class: "problem" }, el("strong", {}, error.message), ...advice(error));
}

function advice(error) {
  const found = [];
  if (error.advice) found.push(el("p", {}, error.advice));
  if (error.requestId) found.push(el("p", { class: "hint" }, `${error.code}, request ${error.requestId}`));
  return found;
}
