// The text of an answer: paragraphs, code, and citations that open what they cite.

import { el } from "./dom.js";

const CITATION = String.raw`\[\d+(?:\s*[,;]\s*\d+)*\]`;
const CITATIONS = new RegExp(CITATION, "g");
const INLINE = new RegExp("(`[^`\\n]+`|\\*\\*[^*\\n]+\\*\\*|" + CITATION + ")");

// The numbers that a text cites.
export const cited = (text) => (text.match(CITATIONS) ?? []).flatMap((each) => each.match(/\d+/g).map(Number));

export function shown(text, passages, open) {
  const byNumber = new Map(passages.map((passage) => [passage.number, passage]));
  const parts = text.split(/^```.*$/m);
  const found = parts.map((part, place) =>
    place % 2 && place < parts.length - 1
      ? el("pre", {}, el("code", {}, part.replace(/^\n|\n$/g, "")))
      : el("div", { class: "text" }, ...inline(part.replace(/^\n+|\n+$/g, ""), byNumber, open)),
  );
  return found.filter((part) => part.textContent);
}

function inline(text, passages, open) {
  return text.split(INLINE).flatMap((piece) => {
    if (piece.length > 2 && piece.startsWith("`") && piece.endsWith("`")) return el("code", {}, piece.slice(1, -1));
    if (piece.length > 4 && piece.startsWith("**") && piece.endsWith("**")) return el("strong", {}, piece.slice(2, -2));
    return piece.startsWith("[") ? citations(piece, passages, open) : piece;
  });
}

function citations(piece, passages, open) {
  const numbers = cited(piece);
  if (!numbers.length || !numbers.every((number) => passages.has(number))) return piece;
  return numbers.map((number) => {
    const passage = passages.get(number);
    const label = `Citation ${number}: ${passage.title || passage.id}`;
    return el(
      "button",
      { type: "button", class: "citation", title: passage.title || passage.id, "aria-label": label, onclick: () => open(passage) },
      String(number),
    );
  });
}
