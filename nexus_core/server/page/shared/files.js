// Conversations as files: one saved as Markdown, and files of them imported. Loaded when it is asked for.

import { call } from "../api.js";
import { counted, el } from "../dom.js";

// What stands between the parts, a mark that no answer knows: HTML comments are not seen where Markdown is read.
const comment = (mark, told) => `<!-- ${mark} ${typeof told === "string" ? told : JSON.stringify(told).replaceAll(">", "\\u003e")} -->\n`;

// A passage that an answer cites, for those who read the file.
const source = ({ number, title, id, place, text }) => `[${number}] ${[title || id, place].filter(Boolean).join(", ")}\n\n${text.replace(/^/gm, "> ")}\n\n`;

export async function save({ id, title }) {
  const mark = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const path = `/conversations/${encodeURIComponent(id)}`;
  const parts = [];
  let first = "";
  for (let after = 0; after !== null;) {
    const told = await call("GET", `${path}?limit=200&after=${after}`);
    for (const { id: run, time, query, response, model, rating, comment: why, contextId: context, contextItems: passages, files } of told.turns) {
      first ||= [...query].slice(0, 200).join("");
      const about = { _id: run, model, time: new Date(time * 1000).toISOString(), rating, comment: why, context, passages, files };
      parts.push(`${comment(mark, about)}## ${query}\n\n${comment(mark, "answer")}${response}\n\n`);
      if (passages.length) parts.push(comment(mark, "sources"), ...passages.map(source));
    }
    after = told.next;
  }
  parts.unshift(`${comment(`nexus-conversation ${mark}`, { conversation: id, title: title === first ? null : title })}# ${title || id}\n\n`);
  const href = URL.createObjectURL(new Blob(parts, { type: "text/markdown" }));
  el("a", { href, download: `${(title || id).slice(0, 60).replace(/[^\p{L}\p{N} _-]/gu, "").trim() || "conversation"}.md` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1_000);
}

// Imports files one after the other, and returns what to say of them; one that is refused changes nothing.
export async function take(files) {
  const said = [];
  for (const file of files) {
    try {
      const { conversations, unchanged } = await call("POST", "/conversations", file, { type: "application/octet-stream" });
      said.push(`${file.name}: ${counted(conversations.length, "conversation")} imported${unchanged ? `, ${figures(unchanged)} there already` : ""}.`);
    } catch (error) {
      said.push(`${file.name}: nothing imported. ${error.message}`);
    }
  }
  return said.map((line) => el("p", { dir: "auto" }, line));
}

const figures = (count) => (count === 1 ? "1 was" : `${count} were`);
