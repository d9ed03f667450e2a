"""Answers as they are drawn, in a real browser: nothing runs, nothing is fetched, nothing blocks, all can read them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from itertools import count, product
from pathlib import Path
from typing import Any

import aiohttp
import axe_playwright_python
import pytest

from nexus_core import Chunk, Item
from tests.server.page.conftest import Tab
from tests.server.page.test_browser import ANSWERED, ask, opened

pytestmark = pytest.mark.slow

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
SIZES = [(1440, 900), (820, 1180), (390, 844)]
MARKDOWN = r"""## Annual leave

Everybody has **28 days** a year [1], see the [handbook](https://example.org/handbook) &amp; `code`.

1. Ask your manager
2. Enter it into the calendar
   - half days count as half

| Kind | Days |
|:-----|-----:|
| Annual | 28 |

```python
def days(years: int) -> int:
    return 28 + years  # at most 32
```

The share is $\frac{28}{365}$.

> Ask early.
"""
FACTS = """(() => {
  const own = document.querySelector(".md");
  return {
    parts: ["h4", "strong", "ol > li > ul > li", "td.end", "pre .hljs-keyword", "math mfrac", "blockquote", ".citation"]
      .filter((each) => own.querySelector(each) === null),
    link: own.querySelector("a").rel,
    entity: own.querySelector("p").textContent.includes("handbook & code"),
    styled: own.querySelectorAll("[style]").length,
  };
})()"""
RUNS = "globalThis.hit=1"
PAYLOADS = [
    f"<script>{RUNS}</script>",
    f"<img src=x onerror={RUNS}>",
    f"<svg/onload={RUNS}>",
    f"<svg><script>{RUNS}</script></svg>",
    f"<iframe src='javascript:parent.{RUNS}'></iframe>",
    f"<iframe srcdoc='<script>parent.{RUNS}</script>'></iframe>",
    f"<details open ontoggle={RUNS}>x</details>",
    f"<a href='javascript:{RUNS}'>x</a>",
    f"[x](javascript:{RUNS})",
    f"[x](JaVaScRiPt:{RUNS})",
    f"[x](java\tscript:{RUNS})",
    f"[x](&#106;avascript:{RUNS})",
    f"[x](data:text/html,<script>{RUNS}</script>)",
    f"[x](vbscript:{RUNS})",
    f"<javascript:{RUNS}>",
    "![x](http://evil.invalid/x.png)",
    "![x](//evil.invalid/x.png 'title')",
    f'![x](x "onerror={RUNS}")',
    "<link rel=stylesheet href=//evil.invalid/x.css>",
    "<style>@import '//evil.invalid/y.css'; body { background: url(//evil.invalid/z) }</style>",
    "<meta http-equiv=refresh content='0;url=//evil.invalid/'>",
    "<base href=//evil.invalid/>",
    "<object data=//evil.invalid/></object><embed src=//evil.invalid/>",
    "<video src=//evil.invalid/ autoplay></video><audio src=//evil.invalid/></audio>",
    f"<form action=javascript:{RUNS}><button formaction=javascript:{RUNS}>x</button></form>",
    f"<math><mtext><img src=x onerror={RUNS}></mtext></math>",
    rf"$\href{{javascript:{RUNS}}}{{x}}$",
    r"$\includegraphics{http://evil.invalid/m.png}$",
    rf"$\text{{<img src=x onerror={RUNS}>}}$",
    r"$\class{x}{y} \style{background:url(//evil.invalid/s)}{z}$",
    f"<noscript><p title='</noscript><img src=x onerror={RUNS}>'>",
    f"<template><script>{RUNS}</script></template><body onload={RUNS}>",
    f"\u202e<b onmouseover={RUNS}>x</b>\u0000<xss onfocus={RUNS} autofocus tabindex=1>",
]
WRAPPED = ["{}", "> {}", "- [ ] {}", "| a |\n|---|\n| {} |", "```html\n{}\n```", "# {} [1]", "**{}** `{}`"]
CORPUS = [wrapped.replace("{}", payload) for payload, wrapped in product(PAYLOADS, WRAPPED)]
LEFT = """(() => {
  const loads = /^(script|img|iframe|style|link|meta|base|object|embed|video|audio|template)$/i;
  const places = "#thread *, #preview *, dialog *, #items *, #view-conversations *";
  const runs = ({ name, value }) => /^on|^style$|^srcdoc$|^formaction$/i.test(name)
    || (name === "href" && !/^((\\.\\/)?#|\\.\\/$|https?:|mailto:|admin$|auth.login$)/.test(value));
  return [...document.querySelectorAll(places)].flatMap((node) => [
    ...(loads.test(node.localName) ? [node.localName] : []),
    ...[...node.attributes].filter(runs).map(({ name, value }) => `${name}=${value}`),
  ]);
})()"""
DRAW = """(async (corpus) => {
  const { Turn } = await import("/page/answer.js");
  for (const text of corpus) {
    const passage = { number: 1, id: text, title: text, source: text, place: text, text, relevance: 1, whole: true };
    const turn = new Turn(text, { passages: [passage], files: [text], again() {}, edit() {} });
    await turn.show(text + "\\n\\n[1]");
    const button = turn.node.querySelector(".source");
    button.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, pointerType: "mouse" }));
    button.click();
    document.querySelector("#passage").close();
  }
})"""
PROBLEMS = """(async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .filter(({ impact }) => ["serious", "critical"].includes(impact))
  .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 150)).join(" | ")}`))()"""


async def test_answer_is_drawn_as_markdown(tab: Any, running: Any, fakes: Any) -> None:
    """Code has colours, formulas are MathML, nothing has a style of its own; the same whatever the pieces."""
    pieces = [Chunk(piece) for piece in re.findall(r"[\s\S]{1,7}", MARKDOWN)]
    fakes.connectors["own"].replies = [[*pieces, Chunk(finish_reason="stop")], MARKDOWN]
    await opened(tab, running)
    shapes = []
    for _ in range(2):
        await tab.click("#fresh")
        await ask(tab, "How much leave?")
        await tab.until(ANSWERED)
        await tab.until("document.querySelector('.md math') && document.querySelector('.hljs-keyword') ? true : false")
        facts = await tab.run(FACTS)
        assert facts == {"parts": [], "link": "noopener noreferrer nofollow", "entity": True, "styled": 0}
        shapes.append(await tab.run("document.querySelector('.md').outerHTML"))
    assert shapes[0] == shapes[1]


async def test_nothing_in_answers_titles_and_names_runs(tab: Any, running: Any) -> None:
    """Of 231 texts made to run, or to fetch, each as an answer, title, source, file name and question."""
    assert len(CORPUS) > 200
    items = [Item(id=f"i{at}", title=text[:4000], text=text, source=text) for at, text in enumerate(CORPUS)]
    await running.store.add("handbook", items)
    await opened(tab, running)
    await tab.run("import('/page/markdown.js').then(({ load }) => load())")
    await tab.run(f"{DRAW}({json.dumps(CORPUS)})")
    await tab.until("document.querySelector('.hljs-name, .hljs-tag') && document.querySelector('math') ? true : false")
    await tab.run("new Promise((resolve) => requestIdleCallback(resolve))")
    assert await tab.run("document.querySelectorAll('#thread .md').length") == len(CORPUS)
    assert await tab.run(LEFT) == []
    await tab.run("location.hash = '#contexts/handbook'")
    await tab.until("document.querySelectorAll('#items li').length === 50")
    assert await tab.run(LEFT) == []
    assert await tab.run("globalThis.hit ?? null") is None
    assert {address for address in tab.requested if not address.startswith(running.origin)} <= {"about:blank"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_axe_finds_nothing_serious(tab: Any, running: Any, fakes: Any, size: tuple[int, int], dark: bool) -> None:
    """In any view, with an answer of every kind of block, one that was asked again, and with what opens over it."""
    fakes.connectors["own"].replies = [MARKDOWN]
    lines = b'{"id": "a", "text": "The canteen opens at noon."}\nno JSON\n'
    await running.call("POST", "/api/contexts/handbook/documents?name=canteen.jsonl", data=lines)
    await tab.size(*size, dark=dark)
    await opened(tab, running)
    await tab.run(AXE.read_text("utf-8") + ";0")
    found = {"empty": await tab.run(PROBLEMS)}
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    await tab.click(".made summary")
    await tab.until("document.querySelector('.made .bar') !== null")
    found["answer"] = await tab.run(PROBLEMS)
    await tab.click(".citation")
    found["passage"] = await tab.run(PROBLEMS)
    await tab.press("Escape")
    await tab.click(".again")
    await tab.until("document.querySelector('.step') !== null")
    await tab.click(".edit")
    found["again"] = await tab.run(PROBLEMS)
    for address, seen in {
        "conversations": "#conversations li",
        "contexts/handbook": "#items .chip",
        "contexts/handbook/documents": "#documents .remarks",
        "models": "#models td",
    }.items():
        await tab.run(f"location.hash = '#{address}'")
        await tab.until(f"document.querySelector('{seen}') !== null")
        found[address] = await tab.run(PROBLEMS)
    assert {name: told for name, told in found.items() if told} == {}
    assert await tab.faint_texts() == []


def long_blocks() -> str:
    """Return blocks of thousands of characters, each with words that are numbered through."""
    number = count()

    def words(many: int) -> str:
        return " ".join(f"w{next(number)}" for _ in range(many))

    lists = "\n".join(f"- {words(9)}\n  - {words(9)}\n\n    {words(5)}" for _ in range(30))
    ordered = "\n".join(f"{at}. {words(20)}" for at in range(1, 40))
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| {words(5)} | **{words(9)}** |" for _ in range(40))
    code = "```text\n" + "\n\n".join(words(9) for _ in range(90)) + "\n```"
    quote = "\n".join(f"> {words(12)}" for _ in range(40))
    lines = "\n".join(words(9) for _ in range(60))
    return "\n\n".join([words(900), lists, words(3), ordered, table, code, quote, lines])


@pytest.mark.parametrize("piece", [7, 450, 10**6])
async def test_blocks_that_are_cut_lose_nothing(tab: Any, running: Any, piece: int) -> None:
    """Blocks longer than what is drawn anew: each word is there once, in its block, in the order of the text."""
    await opened(tab, running)
    text = long_blocks()
    drawn = await tab.run(f"""(async (text, piece) => {{
      const {{ load, Markdown }} = await import("/page/markdown.js");
      await load();
      const place = document.createElement("div");
      const markdown = new Markdown(place, (numbers, raw) => raw);
      for (let end = piece; end < text.length; end += piece) markdown.draw(text.slice(0, end));
      while (markdown.draw(text, true));
      const counted = (each) => place.querySelectorAll(each).length;
      const rows = [counted("pre"), counted("table"), counted("tbody tr"), counted("li"), place.children[0].localName];
      return [(place.textContent.match(/w\\d+?(?=w|\\D|$)/g) ?? []).join(" "), rows];
    }})({json.dumps(text)}, {piece})""")
    assert drawn[0].split() == re.findall(r"w\d+", text)
    assert drawn[1] == [1, 1, 40, 99, "p"]


TIMES = 5
"""So many times as long as the longest task of the page with plain text may that with Markdown be."""


@pytest.fixture
async def plain(chromium: str) -> AsyncIterator[Tab]:
    """A page that finds no parser of Markdown, and shows answers as plain text."""
    async with aiohttp.ClientSession() as session, session.ws_connect(chromium, max_msg_size=2**26) as socket:
        page = Tab(socket)
        await page.open()
        await page.send("Network.setBlockedURLs", urls=["*/vendor/*"])
        yield page
        await page.close()


async def test_streamed_markdown_blocks_no_longer_than_plain_text(
    tab: Tab, plain: Tab, running: Any, fakes: Any
) -> None:
    """Ten thousand characters in pieces of four: by the CPU time of the longest task, on both pages in one run."""
    text = (MARKDOWN * 40)[:10_000]
    pieces = [Chunk(text[at : at + 4]) for at in range(0, len(text), 4)]
    fakes.connectors["own"].replies = [[*pieces, Chunk(finish_reason="stop")]] * 4
    longest: dict[Tab, float] = {}
    for page in (plain, tab):
        await opened(page, running)
        for _ in range(2):  # the first question also loads what the second has
            await page.click("#fresh")
            await page.begin_trace()
            await ask(page, "How much leave?")
            await page.until(ANSWERED)
            longest[page] = await page.longest_task_ms()
    assert await plain.run("document.querySelector('.md strong')") is None
    assert longest[tab] <= TIMES * longest[plain], longest.values()
