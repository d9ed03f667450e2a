// Elements from data: whatever is shown goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else if (key.includes("-") || key === "role" || key === "scope") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Foreign text inside a line: its direction is its own.
export const alone = (text) => el("bdi", {}, text);

export const joined = (...parts) =>
  parts.filter(Boolean).flatMap((part, place) => (place ? [" · ", alone(part)] : [alone(part)]));

export const route = (...parts) => `#${parts.map(encodeURIComponent).join("/")}`;

export const figure = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

// US dollars: to the cent from a dollar on, to six places below; without a value unknown.
export function money(dollars) {
  if (dollars === null || dollars === undefined) return "unknown";
  if (dollars > 0 && dollars < 1e-6) return "<$0.000001";
  return `$${dollars.toLocaleString("en", { maximumFractionDigits: dollars < 1 ? 6 : 2, minimumFractionDigits: dollars < 1 ? 0 : 2 })}`;
}

export const counted = (count, one, many = `${one}s`) => `${figure(count)} ${count === 1 ? one : many}`;

export function size(bytes) {
  if (bytes < 1000) return counted(bytes, "byte");
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function time(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

export const when = (seconds) =>
  new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

export function problem(error) {
  const found = [el("strong", {}, alone(error.message))];
  if (error.advice) found.push(el("p", {}, error.advice));
  if (error.requestId) found.push(el("p", { class: "hint" }, `${error.code}, request ${error.requestId}`));
  return el("div", { class: "problem" }, ...found);
}

// Does what a button asks for, and tells in a place of its own what went wrong.
export async function trying(place, work) {
  try {
    $(place).replaceChildren();
    return await work();
  } catch (error) {
    $(place).replaceChildren(problem(error));
    return undefined;
  }
}
