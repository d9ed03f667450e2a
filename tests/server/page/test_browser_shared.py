"""Conversations that are shared by a link, in a real browser: the dialog that makes it, and the page that it opens."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Item, Viewer
from nexus_core.contract.prompts import PackedItem
from nexus_core.server.access.identity import Identity
from tests.server.page.test_browser import ANSWERED, ask
from tests.server.page.test_browser_answers import AXE, CORPUS, LEFT, MARKDOWN, PROBLEMS, SIZES
from tests.server.page.test_browser_asking import ready

pytestmark = pytest.mark.slow

MADE = "document.querySelector('#link .row:not([hidden]) input')?.value"


async def visit(tab: Any, address: str) -> None:
    """Open a page anew."""
    await tab.send("Page.navigate", url="about:blank")
    await tab.send("Page.navigate", url=address)


async def share(running: Any, turns: list[tuple[str, str]]) -> str:
    """Keep a conversation whose answers cite an item of the handbook, and return the address of a link to it."""
    talks = running.store.conversations
    (leave,) = await running.store.get("handbook", ["leave"])
    packed = [PackedItem(number=1, item=leave, text=leave.text, score=1.5)]
    for number, (query, answer) in enumerate(turns):
        told = {"query": query, "answer": answer, "model": "main", "run_id": f"r{number}"}
        await talks.add_turn(None, "monday", contexts=["handbook"], items=packed, **told)
    return f"{running.origin}/shared#{(await talks.links.make('monday'))[1]}"


async def test_nothing_of_links_is_shown_where_there_are_none(
    tab: Any, start: Any, handbook: Path, tmp_path: Path
) -> None:
    """The server says that it has none; whoever opens one is told so."""
    shutil.copytree(handbook, tmp_path / "store")
    running = await start(shares=False)
    address = await share(running, [("Leave?", "28 days [1].")])
    await tab.size(1440, 900)
    await ready(tab, running)
    await tab.until("document.querySelector('#conversations .export')?.checkVisibility()")
    assert await tab.run("document.querySelector('#conversations .share').checkVisibility()") is False
    await visit(tab, address)
    assert "has no links" in await tab.until("document.querySelector('#shared-said .problem')?.textContent")
    assert "28 days" not in await tab.run("document.body.textContent")


async def test_conversation_is_shared_read_and_withdrawn(tab: Any, running: Any, fakes: Any) -> None:
    """By the button of its row; the link is shown once, opens what was there then, and leads to nothing at the end."""
    fakes.connectors["main"].replies = ["There are **28** days [1].", "Of later."]
    await tab.size(1440, 900)
    await ready(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    await tab.until("document.querySelector('#conversations .share') !== null")
    await tab.click("#conversations .share")
    await tab.until("document.querySelector('#link')?.open")
    assert "Not shared." in await tab.text("#link")
    await tab.run("document.querySelector('#link select').value = '7'")
    await tab.click("#link .make")
    address = await tab.until(MADE)
    assert "1 question" in await tab.text("#link")
    await tab.press("Escape")
    await tab.until("document.querySelector('#link') === null")
    await ask(tab, "And later?")
    await tab.until("document.querySelectorAll('.copy').length === 2")

    await visit(tab, address)
    await tab.until("document.querySelector('.sources') !== null")
    assert await tab.run("[...document.querySelectorAll('.asked')].map((each) => each.textContent)") == [
        "How much leave?"
    ]
    assert await tab.text(".md strong") == "28"
    assert "The link holds until" in await tab.text("#shared-about")
    assert await tab.run("document.querySelectorAll('.edit, .again, .thumb, #query').length") == 0
    sent = await tab.text(".source bdi")
    await tab.click(".citation")
    assert sent in await tab.text("#passage-title")
    await tab.click("#passage-whole")
    await tab.until("document.querySelector('#item')?.open")
    assert await tab.text("#item-title") == sent

    await visit(tab, f"{running.origin}/#shared/{address.partition('#')[2]}")  # as who has signed in comes back
    await tab.until("location.pathname === '/shared' && document.querySelector('.sources') !== null")

    await visit(tab, running.origin)
    await tab.until("document.querySelector('#conversations .share') !== null")
    await tab.click("#conversations .share")
    await tab.until("document.querySelector('#link .withdraw:not([hidden])') !== null")
    assert address not in await tab.run("document.documentElement.outerHTML")
    await tab.click("#link .withdraw")
    await tab.until("document.querySelector('#link').textContent.includes('Not shared.')")
    await visit(tab, address)
    assert "leads to nothing" in await tab.until("document.querySelector('#shared-said .problem')?.textContent")
    assert await tab.run("document.querySelector('#thread').children.length") == 0


async def test_shared_page_asks_for_a_key_and_shows_what_it_may_see(
    tab: Any, start: Any, handbook: Path, tmp_path: Path
) -> None:
    """What is made of other documents is left out, and that is said; the document itself opens no more than it did."""

    async def verify(key: str) -> Identity | None:
        return Identity(owner=key, scopes=frozenset({"query"})) if key == "bob" else None

    shutil.copytree(handbook, tmp_path / "store")
    running = await start(verify=verify)
    address = await share(running, [("How much leave?", "28 days [1].")])
    await visit(tab, address)
    await tab.until("document.querySelector('#key-dialog')?.open")
    await tab.write("#key", "wrong")
    await tab.press("Enter")
    await tab.until("document.querySelector('#key-dialog').open && document.querySelector('#key').value === ''")
    await tab.write("#key", "bob")
    await tab.press("Enter")
    await tab.until("document.querySelector('.citation') !== null")
    await tab.click(".citation")
    assert "28 days" in await tab.text("#passage-text")  # although the key may read no context
    assert not any(address.partition("#")[2] in each.partition("/api/")[0] for each in tab.requested[1:])


async def test_key_that_may_not_ask_is_offered_nothing_to_ask(
    tab: Any, start: Any, handbook: Path, tmp_path: Path
) -> None:
    """Nor an import, but the contexts that it may read; one that may ask and not read has no form."""
    asking = ".import, #fresh, #view-conversations, nav [href='#ask'], #form, #begin, #examples, #ask-this"
    shown = f"[...document.querySelectorAll({asking!r})].filter((each) => each.checkVisibility()).length"

    async def verify(key: str) -> Identity | None:
        return Identity(owner=key, scopes=frozenset({key})) if key in ("read", "query") else None

    shutil.copytree(handbook, tmp_path / "store")
    running = await start(verify=verify)
    await tab.size(1440, 900)
    for name in ("read", "query"):
        await visit(tab, running.origin)
        await tab.until("document.querySelector('#key-dialog')?.open")
        await tab.write("#key", name)
        await tab.press("Enter")
        await tab.until("document.body.classList.contains('not-admin')")
        assert await tab.run("document.querySelector('.import').checkVisibility()") == (name == "query")
        assert await tab.run("document.querySelector('#form').checkVisibility()") is False  # of what, needs `read`
        if name == "read":
            await tab.until("location.hash === '#contexts' && document.querySelector('#contexts a') !== null")
            await tab.run("document.querySelector('#contexts a').click()")
            await tab.until("document.querySelector('#opened').checkVisibility()")
            assert await tab.run(shown) == 0
        await tab.run("sessionStorage.clear()")


async def test_what_may_not_be_seen_is_not_shared(tab: Any, start: Any, tmp_path: Path, handbook: Path) -> None:
    """And the page says that something is left out."""

    async def verify(key: str) -> Identity | None:
        return Identity(owner="bob", scopes=frozenset({"query", "read"}), viewer=Viewer())

    shutil.copytree(handbook, tmp_path / "store")
    running = await start(verify=verify)
    address = await share(running, [("How much leave?", "28 days [1].")])
    await running.store.add("handbook", [Item(id="leave", title="Leave", text="x", readers=("group:hr",))])
    await visit(tab, address)
    assert "may not see" in await tab.until("document.querySelector('#shared-said .notice')?.textContent")
    assert "leave" not in (await tab.text("main")).lower()


async def test_nothing_of_a_shared_conversation_runs(tab: Any, running: Any) -> None:
    """Of what a stranger may have made to run or to fetch, as title, question, answer and passage."""
    hostile = CORPUS[::5]
    item = Item(id="x", title=hostile[1], text=hostile[0], source=hostile[2])
    talks = running.store.conversations
    for number, text in enumerate(hostile):
        told = {"query": text, "answer": f"{text}\n\n[1]", "model": "main", "run_id": f"r{number}"}
        packed = [PackedItem(number=1, item=item, text=hostile[0])]
        await talks.add_turn(None, "monday", contexts=["handbook"], items=packed, **told)
    await talks.rename("monday", hostile[0][:200])
    token = (await talks.links.make("monday"))[1]
    await visit(tab, f"{running.origin}/shared#{token}")
    await tab.until(f"document.querySelectorAll('#thread .copy').length === {len(hostile)}")
    await tab.run("document.querySelector('.source').click()")
    await tab.run("new Promise((resolve) => requestIdleCallback(resolve))")
    assert await tab.run(LEFT) == []
    assert await tab.run("globalThis.hit ?? null") is None
    assert {address for address in tab.requested if not address.startswith(running.origin)} <= {"about:blank"}


@pytest.mark.parametrize(("size", "dark"), [(size, dark) for size in SIZES for dark in (False, True)], ids=str)
async def test_axe_finds_nothing_serious_in_what_is_shared(
    tab: Any, running: Any, size: tuple[int, int], dark: bool
) -> None:
    """Neither in the dialog that makes a link nor on the page that it opens."""
    await tab.size(*size, dark=dark)
    address = await share(running, [("How much leave?", MARKDOWN)])
    await ready(tab, running)
    await tab.until("document.querySelector('#conversations .share') !== null")
    await tab.click("#conversations .share")
    await tab.until("document.querySelector('#link')?.open")
    await tab.click("#link .make")
    await tab.until(MADE)
    await tab.run(AXE.read_text("utf-8") + ";0")
    assert await tab.run(PROBLEMS) == []
    assert await tab.run("document.documentElement.scrollWidth <= innerWidth")
    address = await tab.run(MADE)
    await visit(tab, address)
    await tab.until("document.querySelector('.citation') !== null")
    await tab.run(AXE.read_text("utf-8") + ";0")
    assert await tab.run(PROBLEMS) == []
    assert await tab.faint_texts() == []
    assert await tab.run("document.documentElement.scrollWidth <= innerWidth")
    await tab.click(".citation")
    assert await tab.run(PROBLEMS) == []
