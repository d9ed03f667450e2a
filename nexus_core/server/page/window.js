// The picture of a window: what fills it, every candidate, and the attempts.

import { alone, el, figure, joined, money, time } from "./dom.js";

export function picture(end, open) {
  const { packing, attempts, metadata } = end;
  return [bar(packing, metadata), tries(attempts), candidates(packing, metadata.contextItems, open)];
}

function bar(packing, metadata) {
  const free = Math.max(0, packing.window - packing.promptTokens - packing.reserved);
  const { contextTokens } = packing;
  // Where the bytes of a prompt fit already, its parts are not counted.
  const prompt = contextTokens === null ? [["Prompt", "context", packing.promptTokens]] : [
    ["Instructions and question", "frame", packing.promptTokens - contextTokens],
    ["Context", "context", contextTokens],
  ];
  const parts = [
    ...prompt,
    ["Reserved for the answer", "reserved", packing.reserved],
    ["Free", "free", free],
  ];
  const said = parts.map(([name, , tokens]) => `${name}: ${figure(tokens)}`).join(", ");
  const segments = parts.filter(([, , tokens]) => tokens > 0).map(([, kind, tokens]) => {
    const segment = el("span", { class: kind });
    segment.style.flexGrow = String(tokens);
    return segment;
  });
  return el(
    "section",
    {},
    el("h2", {}, "Window"),
    el("div", { class: "bar", role: "img", "aria-label": `Window of ${figure(packing.window)} tokens. ${said}` }, ...segments),
    el("dl", { class: "legend" }, ...parts.flatMap(([name, kind, tokens]) => [
      el("dt", {}, el("span", { class: `swatch ${kind}` }), name), el("dd", {}, figure(tokens)),
    ])),
    el("p", { class: "hint" }, [
      `${packing.promptTokensAreExact ? "" : "At most "}${figure(packing.promptTokens)} tokens of prompt in a window of ${figure(packing.window)}`,
      packing.history.kept + packing.history.dropped
        ? `; of the conversation ${figure(packing.history.kept)} messages are in it and ${figure(packing.history.dropped)} are not`
        : "",
      `; answered in ${time(metadata.responseTimeMs)} with ${figure(metadata.completionTokens)} tokens; cost ${cost(metadata)}.`,
    ].join("")),
  );
}

function cost({ cost: known, unpricedAttempts, usageSource }) {
  const more = known !== null && unpricedAttempts ? " and attempts of unknown cost" : "";
  return `${known !== null && usageSource !== "provider" ? "about " : ""}${money(known)}${more}`;
}

function candidates(packing, passages, open) {
  const byId = new Map(passages.map((passage) => [passage.id, passage]));
  const packed = [], dropped = [];
  const count = { kept: 0, cut: 0, dropped: 0 };
  for (const entry of packing.trace) {
    count[entry.decision] += 1;
    (entry.decision === "dropped" ? dropped : packed).push(candidate(entry, byId.get(entry.id), open));
  }
  const counts = Object.entries(count).map(([decision, found]) => `${found} ${decision}`).join(", ");
  const more = packing.candidates - packing.trace.length;
  return el(
    "section",
    {},
    el("h2", {}, "Candidates"),
    packing.searched ? el("p", { class: "hint" }, "Searched for: ", alone(packing.searched.replaceAll("\n", " · "))) : null,
    el("p", { class: "hint" }, packing.candidates ? `${counts}${more ? `, ${figure(more)} more not shown` : ""}` : "There were none."),
    el("ol", { class: "candidates" }, ...packed),
    dropped.length
      ? el("details", {}, el("summary", {}, `Dropped: ${figure(dropped.length + more)}`), el("ol", { class: "candidates" }, ...dropped))
      : null,
  );
}

function candidate(entry, passage, open) {
  const title = entry.title || entry.id;
  const name = passage
    ? el("button", { type: "button", class: "link", onclick: () => open(passage) }, `${passage.number}. `, alone(title))
    : alone(title);
  return el(
    "li",
    { class: entry.decision },
    el("span", { class: "badge" }, entry.decision),
    name,
    el("span", { class: "hint why" }, ...joined(
      entry.reason, `relevance ${entry.score.toPrecision(3)}`, entry.tokens !== null && `${figure(entry.tokens)} tokens`)),
  );
}

export function tries(attempts) {
  const rows = attempts.map((row) => el(
    "li",
    { class: row.outcome === "ok" ? "kept" : "dropped" },
    el("span", {}, alone(`${row.model} (${row.modelId})`), " ", el("span", { class: "badge" }, row.outcome.replaceAll("_", " "))),
    el("span", { class: "hint" }, ...joined(
      time(row.durationMs),
      row.firstContentMs !== null && `first content after ${time(row.firstContentMs)}`,
      row.promptTokens !== null && `${figure(row.promptTokens)} tokens in, ${figure(row.completionTokens)} out`,
      row.requestSent && `cost ${money(row.cost)}`,
      row.status !== null && `status ${row.status}`,
      row.error,
    )),
  ));
  return el("section", {}, el("h2", {}, "Attempts"), el("ol", { class: "attempts" }, ...rows));
}
