"""The source `feed`: RSS and Atom of a server on this machine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field

from nexus_core import Documents, RunContext, SourceError
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry

pytestmark = pytest.mark.slow

FEED: Any = PluginRegistry.installed().component(Kind.SOURCE, "feed")
ITEM = (
    "<item><guid>{0}</guid><title>Post {0}</title><link>https://example.com/{0}</link>"
    "<pubDate>Fri, 02 Jan 2026 10:00:00 GMT</pubDate><description>&lt;p&gt;{1}&lt;/p&gt;</description></item>"
)


@define(eq=False)
class ServedFeed:
    """A server of one feed."""

    text: str = ""
    url: str = ""
    sent: Counter[int] = field(factory=Counter)

    async def answer(self, request: web.Request) -> web.Response:
        tag = f'"{hash(self.text)}"'
        status = 304 if request.headers.get("If-None-Match") == tag else 200
        self.sent[status] += 1
        text = self.text if status == 200 else None
        return web.Response(status=status, text=text, content_type="application/rss+xml", headers={"ETag": tag})

    def post(self, **entries: str) -> None:
        items = "".join(ITEM.format(id, text) for id, text in entries.items())
        self.text = f'<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>{items}</channel></rss>'


@pytest.fixture
async def served() -> AsyncIterator[ServedFeed]:
    feed = ServedFeed()
    app = web.Application()
    app.router.add_get("/feed", feed.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    feed.url = f"http://127.0.0.1:{runner.addresses[0][1]}/feed"
    yield feed
    await runner.cleanup()


async def look(source: Any) -> dict[str, Any]:
    """Return the entries that are found, by their ids."""
    marks = await asyncio.to_thread(lambda: list(source.documents()))
    return {mark.name.partition("#")[2]: mark for mark in marks}


async def test_entries_become_items_with_their_addresses(served: ServedFeed, tmp_path: Path) -> None:
    """Text of HTML, title, date and link."""
    served.post(a="It <b>works</b>.", b="")
    source = FEED(url=served.url, cache=str(tmp_path))
    assert isinstance(source, Documents)
    first, second = (await look(source)).values()
    (item,) = source.read(first).items
    assert (item.title, item.source) == ("Post a", "https://example.com/a")
    assert "works" in item.text
    assert item.metadata["published"].startswith("Fri, 02 Jan 2026")
    assert [item.text for item in source.read(second).items] == ["Post b"]


async def test_a_feed_that_is_the_same_is_not_sent_again(served: ServedFeed, tmp_path: Path) -> None:
    """An entry that has changed has another stamp; one that has left the feed stays, unless it is not to."""
    served.post(a="one", b="two")
    source = FEED(url=served.url, cache=str(tmp_path))
    before = await look(source)
    assert (await look(source)).keys() == before.keys()
    assert served.sent == {200: 1, 304: 1}
    served.post(b="three", c="new")
    after = await look(source)
    assert sorted(after) == ["a", "b", "c"]
    assert [before[id].stamp == after[id].stamp for id in "ab"] == [True, False]
    assert sorted(await look(FEED(url=served.url, cache=str(tmp_path / "new"), keep=False))) == ["b", "c"]


async def test_a_pipeline_gathers_entries(served: ServedFeed, tmp_path: Path) -> None:
    """The same tuple while nothing has changed."""
    served.post(a="one")
    source = FEED(url=served.url, cache=str(tmp_path), refresh_s=0)
    first = await source.gather("", RunContext())
    assert [item.title for item in first] == ["Post a"]
    assert await source.gather("", RunContext()) is first


@pytest.mark.parametrize("text", ["<html><p>Not found", "", "{}"])
async def test_what_is_no_feed_is_an_error(served: ServedFeed, tmp_path: Path, text: str) -> None:
    """With the address."""
    served.text = text
    with pytest.raises(SourceError, match=r"feed: http://127.*is no feed"):
        await look(FEED(url=served.url, cache=str(tmp_path)))
