// Markdown as elements: made of tokens, never of markup, while a text grows. What is settled is drawn once.

import { cited } from "./citations.js";
import { el } from "./dom.js";

const BLOCK = 1_000; // Characters of a block that are drawn anew with every piece; a longer one is cut.
const FRAME = 1_500; // Characters that one call of `draw` works on, more than a block: a frame of layout for each.
const ALIGNED = { left: "start", right: "end", center: "center" };
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

const math = (name, level, begin, whole) => ({
  name, level,
  start: (text) => { const at = text.search(begin); return at < 0 ? undefined : at; },
  tokenizer(text) {
    const found = whole.exec(text);
    return found ? { type: "math", raw: found[0], text: found[1] ?? found[2], display: level === "block" } : undefined;
  },
});
const EXTENSIONS = [
  math("mathBlock", "block", /^ {0,3}(?:\$\$|\\\[)/m, /^ {0,3}(?:\$\$([^$]+?)\$\$|\\\[([^]+?)\\\]) *(?:\n|$)/),
  math("mathInline", "inline", /\$|\\\(|\\\[/, /^(?:\$\$?(?!\s)((?:\\.|[^$\\\n])+?)(?<!\s)\$\$?(?!\d)|\\[([]([^]+?)\\[)\]])/),
  {
    name: "citation", level: "inline",
    start: (text) => { const at = text.search(/\[\d/); return at < 0 ? undefined : at; },
    tokenizer(text) {
      const found = /^\[\d+(?:\s*[,;]\s*\d+)*\](?!\()/.exec(text);
      return found ? { type: "citation", raw: found[0] } : undefined;
    },
  },
];

let marked = null;
let coming = null;

// The parser, once: the page is drawn before it is there.
export function load() {
  coming ??= import("./vendor/marked.esm.js").then(({ Marked }) => {
    const nothing = () => undefined; // Markup is text like any other.
    marked = new Marked({ gfm: true });
    marked.use({ extensions: EXTENSIONS, tokenizer: { html: nothing, tag: nothing, def: nothing } });
  });
  return coming;
}

export class Markdown {
  #place;
  #draws;
  #settled = 0;
  #before = ""; // What a block that was cut begins with: its fence, its head.
  #into = null; // And the element that takes the rest of it.
  #open = [];

  // `citation` gives what stands for a citation, of its numbers and its text.
  constructor(place, citation) {
    this.#place = place;
    this.#draws = new Drawing(citation);
  }

  // Draws what there is, up to `FRAME` characters; tells whether there is more. A whole text has no open end.
  draw(text, isWhole = false) {
    this.#close();
    const end = Math.min(text.length, this.#settled + FRAME);
    const all = isWhole && end === text.length;
    while (this.#settled < end) {
      const rest = text.slice(this.#settled, end);
      const tokens = this.#tokens(rest);
      const last = all ? tokens.length : tokens.findLastIndex(({ type }) => type !== "space");
      if (last > 0) this.#settle(tokens.slice(0, last));
      if (all) break;
      const open = text.slice(this.#settled, end);
      if (open.length <= BLOCK) {
        this.#open = this.#put(this.#tokens(open), true);
        break;
      }
      this.#settle(this.#tokens(open.slice(0, cutOf(open))), true);
    }
    return end < text.length;
  }

  #tokens(text) {
    return marked.lexer(this.#before + text);
  }

  #settle(tokens, isCut = false) {
    this.#put(tokens, false);
    this.#settled += tokens.reduce((sum, { raw }) => sum + raw.length, 0) - this.#before.length;
    const last = tokens.at(-1);
    const goesOn = isCut ? this.#draws.goesOn(last, this.#last) : null;
    if (!goesOn && this.#into?.isCode) this.#draws.color(this.#into.element);
    this.#before = goesOn?.before ?? "";
    this.#into = goesOn;
    if (isCut && !goesOn && last?.type === "paragraph") {
      this.#last.append("\n");
      this.#last.classList.add("cut");
    }
  }

  #put(tokens, isOpen) {
    const made = [];
    this.#draws.isOpen = isOpen;
    for (const [place, token] of tokens.entries()) {
      const more = place || !this.#into ? null : this.#into.take(token);
      if (more) made.push(...more);
      else {
        const nodes = this.#draws.block(token);
        this.#place.append(...nodes);
        made.push(...nodes);
        if (nodes.length) this.#last = nodes.at(-1);
      }
    }
    return made;
  }

  #last = null;

  #close() {
    for (const node of this.#open) node.remove();
    this.#open = [];
  }
}

// Where a block that is too long is cut: before a line that is not indented, at a line's end, or at a space before a word.
function cutOf(text) {
  const whole = text.slice(0, BLOCK);
  for (const place of [/\n(?=\S)/g, /\n/g, / (?=\p{L})/gu]) {
    const at = [...whole.matchAll(place)].at(-1)?.index;
    if (at) return at + 1;
  }
  return BLOCK;
}

class Drawing {
  isOpen = false; // Whether what is drawn may change with the next piece.

  constructor(citation) {
    this.citation = citation;
  }

  block(token) {
    switch (token.type) {
      case "space": case "def": return [];
      case "heading": return [el(`h${Math.min(6, token.depth + 2)}`, { dir: "auto" }, ...this.inline(token.tokens))];
      case "code": return [this.code(token)];
      case "blockquote": return [el("blockquote", {}, ...token.tokens.flatMap((each) => this.block(each)))];
      case "list": return [this.list(token)];
      case "table": return [this.table(token)];
      case "hr": return [el("hr")];
      case "math": return [formula(token, this.isOpen)];
      case "checkbox": return [el("span", {}, token.checked ? "☑ " : "☐ ")];
      case "text": return this.inline(token.tokens ?? [token]);
      default: return [el("p", { dir: "auto" }, ...(token.tokens ? this.inline(token.tokens) : [token.raw]))];
    }
  }

  inline(tokens) {
    return tokens.flatMap((token) => {
      switch (token.type) {
        case "strong": case "em": case "del": return [el(token.type, {}, ...this.inline(token.tokens))];
        case "codespan": return [el("code", {}, token.text)];
        case "br": return [el("br")];
        case "link": return [link(token.href, token.autolink ? [token.text] : this.inline(token.tokens))];
        case "image": return [link(token.href, [token.text || token.href])]; // Nothing is fetched.
        case "citation": return [this.citation(cited(token.raw), token.raw)];
        case "math": return [formula(token, this.isOpen)];
        case "escape": return [token.text];
        case "text": return token.tokens ? this.inline(token.tokens) : [decoded(token.text)];
        default: return [token.raw];
      }
    });
  }

  list(token) {
    const items = token.items.map(({ tokens }) => el("li", { dir: "auto" }, ...tokens.flatMap((each) => this.block(each))));
    const made = el(token.ordered ? "ol" : "ul", {}, ...items);
    if (token.ordered && token.start !== 1) made.start = token.start;
    return made;
  }

  table({ header, rows }) {
    const row = (cells, name) => el("tr", {}, ...cells.map((cell) => {
      const made = el(name, { dir: "auto" }, ...this.inline(cell.tokens));
      if (ALIGNED[cell.align]) made.className = ALIGNED[cell.align];
      if (name === "th") made.scope = "col";
      return made;
    }));
    return el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Table" },
      el("table", {}, el("thead", {}, row(header, "th")), el("tbody", {}, ...rows.map((cells) => row(cells, "td")))));
  }

  code({ text, lang }) {
    const name = (lang ?? "").trim().split(/\s/)[0];
    const code = el("code", { dir: "ltr" }, text);
    if (name) code.setAttribute("data-language", name);
    const copy = el("button", { type: "button", class: "quiet small copy-code", onclick: () => copied(copy, code.textContent) }, "Copy");
    if (!this.isOpen) this.color(code);
    return el("figure", { class: "code" }, el("figcaption", {}, el("span", {}, name || "text"), copy), el("pre", { tabIndex: 0 }, code));
  }

  color(code) {
    const language = code.getAttribute("data-language");
    if (language && code.textContent.length <= 50_000) later(() => color(code, language).catch(() => {})); // Without its library it stays plain.
  }

  // How the rest of a block is drawn that was cut; null where it is a block of its own.
  goesOn(token, node) {
    if (token?.type === "code" && token.raw.startsWith("```") && !/\n`{3,} *\n*$/.test(token.raw)) {
      const element = node.querySelector("code");
      return { before: token.raw.slice(0, token.raw.indexOf("\n") + 1), element, isCode: true, take: ({ text }) => put(element, `\n${text}`) };
    }
    if (token?.type === "table") {
      const [head, line] = token.raw.split("\n");
      return { before: `${head}\n${line}\n`, take: (more) =>
        (more.type === "table" ? put(node.querySelector("tbody"), ...this.table(more).querySelectorAll("tbody > tr")) : []) };
    }
    if (token?.type === "list") {
      return { before: "", take: (more) => (more.type === "list" && more.ordered === token.ordered ? put(node, ...this.list(more).children) : null) };
    }
    if (token?.type === "paragraph" && !token.raw.endsWith("\n")) {
      return { before: "", take: (more) => (more.type === "paragraph" ? put(node, " ", el("span", {}, ...this.inline(more.tokens))) : null) };
    }
    return null;
  }
}

// Appends, and returns what was appended as nodes.
function put(place, ...what) {
  const nodes = what.map((each) => (typeof each === "string" ? document.createTextNode(each) : each));
  place.append(...nodes);
  return nodes;
}

// Of links only those that a person follows; others are text.
function link(href, inside) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(href)) return el("span", {}, ...inside);
  return el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow", title: href }, ...inside);
}

const decoded = (text) => text.replace(/&(?:#(\d{1,6})|(amp|lt|gt|quot|apos|nbsp));/g,
  (_, code, name) => (name ? NAMED[name] : String.fromCodePoint(Number(code))));

export async function copied(button, text) {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  button.textContent = done ? "Copied" : "Not allowed: select the text";
  return button.textContent;
}

const later = (work) => (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 1_000 }) : setTimeout(work, 50));

async function color(code, language) {
  const { default: highlighter } = await import("./vendor/highlight.min.js");
  if (!highlighter.getLanguage(language)) return;
  const { value } = highlighter.highlight(code.textContent, { language, ignoreIllegals: true });
  code.replaceChildren(...spans(new DOMParser().parseFromString(value, "text/html").body));
}

// Nothing but text and the classes of colours comes over.
const spans = (from) => [...from.childNodes].map((node) =>
  (node.nodeType === Node.TEXT_NODE ? node.data : el("span", { class: node.className }, ...spans(node))));

const ATTRIBUTES = new Set(["display", "mathvariant", "stretchy", "fence", "separator", "form", "lspace", "rspace", "width", "height",
  "depth", "voffset", "linethickness", "accent", "accentunder", "columnalign", "rowspacing", "columnspacing", "scriptlevel", "displaystyle",
  "minsize", "maxsize", "symmetric", "movablelimits", "largeop", "notation", "class"]);
let formulas = null;

function formula({ text, raw, display }, isOpen) {
  const made = el(display ? "div" : "span", { class: "math" }, raw.trim());
  if (!isOpen && text.length < 5_000) later(() => drawFormula(made, text, display).catch(() => {}));
  return made;
}

async function drawFormula(place, text, display) {
  formulas ??= new Promise((resolve, reject) => {
    const from = new URL("vendor/temml.min.js", import.meta.url);
    document.head.append(el("script", { src: from.href, onload: resolve, onerror: reject }));
  });
  await formulas;
  try {
    const drawn = el("span");
    globalThis.temml.render(text, drawn, { displayMode: display, throwOnError: true, trust: false, maxSize: [10, 100], maxExpand: 500 });
    for (const each of drawn.querySelectorAll("*")) {
      for (const { name } of [...each.attributes]) if (!ATTRIBUTES.has(name)) each.removeAttribute(name);
    }
    place.replaceChildren(...drawn.childNodes);
  } catch { /* What is no formula stays as it was written. */ }
}
