"""A conversation of two hundred turns, in a real browser: nothing that is done with it blocks the page for long."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import pytest

from nexus_core import Chunk
from tests.server.page.conftest import Tab
from tests.server.page.test_browser import opened
from tests.server.page.test_browser_answers import MARKDOWN, TIMES
from tests.server.page.test_browser_shared import share

pytestmark = pytest.mark.slow

TURNS = [(f"Question {number}?", MARKDOWN) for number in range(200)]
PLAIN = f"""(async () => {{
  for (const [place, texts] of {json.dumps(TURNS)}.entries()) {{
    for (const text of texts) {{
      const made = document.createElement("p");
      made.className = "text";
      made.textContent = text;
      document.querySelector("#thread").append(made);
    }}
    if (place % 50 === 49) await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  }}
}})()"""
"""Shows the same turns as text alone, fifty in a frame."""
SETTLED = "new Promise((resolve) => setTimeout(() => requestIdleCallback(() => resolve()), 200))"
"""Code has its colours then, and the browser has looked through forms, a tenth of a second after the last change."""

LAID_OUT = """(async () => {
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  do await frame(); while (document.querySelector(".laid"));
})()"""
OPENED = "document.querySelector('#thread > .hint') !== null"
WATCH = """(() => {
  globalThis.tops = [];
  const watch = () => {
    const newest = [...document.querySelectorAll(".turn")].at(-1);
    if (newest) globalThis.tops.push(newest.getBoundingClientRect().top);
    requestAnimationFrame(() => setTimeout(watch));
  };
  watch();
})()"""
"""Notes after each frame where the newest question stands."""


async def longest_ms(tab: Tab, script: str, done: str = "true") -> float:
    """Return the CPU time of the longest task of what a script begins."""
    await tab.begin_trace()
    await tab.run(script)
    await tab.until(done)
    await tab.run(SETTLED)
    return await tab.longest_task_ms()


async def test_long_conversation_blocks_no_longer_than_plain_text(tab: Tab, running: Any, fakes: Any) -> None:
    """Each time it is opened, asked on, and read by its link; no turn has a field, which browsers look through."""
    address = await share(running, TURNS)
    plain = []
    for _ in range(3):
        await opened(tab, running)
        plain.append(await longest_ms(tab, PLAIN))
        assert await tab.run("document.querySelectorAll('#thread > .text').length") == 2 * len(TURNS)
    fields = "document.querySelectorAll('form, input, select, textarea').length"
    tasks = []
    for _ in range(5):
        await opened(tab, running)
        before = await tab.run(fields)
        tasks.append(await longest_ms(tab, "location.hash = '#ask/own/own/monday'", OPENED))
        assert await tab.run("document.querySelectorAll('.answer').length") == 200
        assert await tab.run(fields) == before
    pieces = [Chunk(MARKDOWN[at : at + 8]) for at in range(0, len(MARKDOWN), 8)]
    fakes.connectors["own"].replies = [[*pieces, Chunk(finish_reason="stop")]]
    await tab.write("#query", "How much leave?")
    asked = "document.querySelectorAll('.copy').length === 201"
    tasks.append(await longest_ms(tab, "document.querySelector('#form').requestSubmit()", asked))
    for _ in range(2):
        await tab.send("Page.navigate", url="about:blank")
        done = "document.querySelector('#shared-title:focus') !== null"
        tasks.append(await longest_ms(tab, f"location.href = {json.dumps(address)}", done))
    assert max(tasks) <= TIMES * median(plain), (tasks, plain)


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=str)
async def test_conversation_is_opened_at_its_newest_turn(tab: Tab, running: Any, size: tuple[int, int]) -> None:
    """It stands at the top, as one that was just asked, and stays there while the earlier ones come above it."""
    await share(running, TURNS[:40])
    await tab.size(*size)
    await opened(tab, running)
    await tab.run(WATCH)
    await tab.run("location.hash = '#ask/own/own/monday'")
    await tab.until(OPENED)
    asked = await tab.run("[...document.querySelectorAll('.asked')].map((each) => each.textContent)")
    assert asked == [query for query, _ in TURNS[:40]]
    tops = await tab.run("globalThis.tops")
    assert min(tops) >= 0
    assert max(tops) < 120
    assert max(tops) - min(tops) <= 2  # a page is scrolled by whole pixels
    assert await tab.run("document.activeElement === [...document.querySelectorAll('.turn')].at(-1)")


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=str)
async def test_what_is_found_stays_where_it_is_seen(tab: Tab, running: Any, size: tuple[int, int]) -> None:
    """A search of the browser scrolls to its words, and answers that come into sight above do not push them away."""
    await share(running, [(f"Question {number}?", f"The word{number}.\n\n{MARKDOWN}") for number in range(12)])
    await tab.size(*size)
    await opened(tab, running)
    await tab.run("location.hash = '#ask/own/own/monday'")
    await tab.until(OPENED)
    await tab.run(LAID_OUT)
    top = "getSelection().getRangeAt(0).getBoundingClientRect().top"
    for word in ("word3.", "word8."):
        assert await tab.run(f"getSelection().removeAllRanges(), find({word!r}, false, false, true)")
        first = await tab.run(top)
        await tab.run(SETTLED)
        assert abs(await tab.run(top) - first) <= 2  # a page is scrolled by whole pixels
        assert 0 < first < size[1]
