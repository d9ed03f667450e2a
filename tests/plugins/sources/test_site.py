"""The source `site`: real pages of a server on this machine, by links and by sitemap."""

from __future__ import annotations

import asyncio
import gzip
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

SITE = PluginRegistry.installed().component(Kind.SOURCE, "site")


@define(eq=False)
class Pages:
    """A server of pages, which can be changed; it counts what is asked of it, and what it has sent."""

    at: dict[str, Any] = field(factory=dict)
    """By path: text of HTML, bytes, a status, or a response."""
    asked: Counter[str] = field(factory=Counter)
    sent: Counter[str] = field(factory=Counter)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path_qs
        self.asked[path] += 1
        found = self.at.get(path, self.at.get(request.path, 404))
        if callable(found):
            found = found(request)
        if isinstance(found, int):
            return web.Response(status=found)
        if isinstance(found, web.StreamResponse):
            return found
        tag = f'"{hash(found)}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        self.sent[path] += 1
        data = found if isinstance(found, bytes) else found.encode()
        kind = "text/html" if isinstance(found, str) and "<" in found else "application/octet-stream"
        return web.Response(body=data, content_type=kind, headers={"ETag": tag})


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    served = Pages()
    app = web.Application()
    app.router.add_get("/{tail:.*}", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


async def look(pages: Pages, folder: Path, path: str = "/", **options: Any) -> tuple[Any, dict[str, Any]]:
    """Return a source and the documents it finds, by their paths."""
    source = SITE(url=pages.url + path, cache=str(folder), delay_s=0, **options)
    marks = await asyncio.to_thread(lambda: list(source.documents()))
    return source, {mark.name.removeprefix(pages.url): mark for mark in marks}


def redirect(target: str) -> Any:
    """Return what answers with a redirect."""
    return lambda request: web.Response(status=302, headers={"Location": target})


def page(text: str, *links: str) -> str:
    return f"<title>{text}</title><h1>{text}</h1><p>{text}." + "".join(f"<a href='{each}'>x</a>" for each in links)


async def test_pages_are_found_by_their_links_within_the_host(pages: Pages, tmp_path: Path) -> None:
    """Each once under its canonical address, at and below where it begins; pictures and other hosts are left out."""
    pages.at = {
        "/docs/": page(
            "Start", "a.html", "./a.html#part", "/docs/b/?utm_source=x", "/other", "https://example.com/", "x.png"
        ),
        "/docs/a.html": page("Leave", "b/"),
        "/docs/b/": page("Travel", "/docs/../docs/a.html;jsessionid=1"),
    }
    source, found = await look(pages, tmp_path, "/docs/")
    assert isinstance(source, Documents)
    assert list(found) == ["/docs/", "/docs/a.html", "/docs/b/"]
    assert {path: count for path, count in pages.asked.items() if count > 1} == {}
    assert "/other" not in pages.asked
    (item,) = source.read(found["/docs/a.html"]).items
    assert (item.id, item.title) == (f"{pages.url}/docs/a.html", "Leave")


async def test_unchanged_pages_are_not_sent_again(pages: Pages, tmp_path: Path) -> None:
    """The server is asked whether they have changed; their stamp is that of the content."""
    pages.at = {"/": page("Start", "/a"), "/a": page("one", "/b"), "/b": page("two")}
    _, before = await look(pages, tmp_path)
    pages.at["/b"] = page("three")
    _, after = await look(pages, tmp_path)
    assert pages.sent == {"/": 1, "/a": 1, "/b": 2}
    assert [before[path].stamp == after[path].stamp for path in ("/", "/a", "/b")] == [True, True, False]


async def test_what_is_gone_is_no_document_and_what_fails_is_a_problem(pages: Pages, tmp_path: Path) -> None:
    """A page that answers 404 has gone; one with an error is still there, and so is what it led to."""
    pages.at = {"/": page("Start", "/a", "/b"), "/a": page("A", "/c"), "/b": page("B"), "/c": page("C")}
    await look(pages, tmp_path)
    pages.at |= {"/a": 500, "/b": 404}
    source, found = await look(pages, tmp_path)
    assert list(found) == ["/", "/a", "/c"] or sorted(found) == ["/", "/a", "/c"]
    assert "500" in found["/a"].problem
    assert source.problems == ()
    pages.at["/"] = page("Start", "/a", "/new")
    pages.at["/new"] = 503
    source, found = await look(pages, tmp_path)
    assert "what it alone leads to is not known" in source.problems[0]


async def test_robots_txt_is_obeyed(pages: Pages, tmp_path: Path) -> None:
    """Its rules for `contextnexus`, else for all; its delay, by the pause that is given."""
    pages.at = {
        "/robots.txt": b"User-agent: *\nDisallow: /private/\nCrawl-delay: 7\n",
        "/": page("Start", "/private/a", "/open"),
        "/open": page("Open"),
        "/private/a": page("Private"),
    }
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    source = SITE(url=f"{pages.url}/", cache=str(tmp_path), delay_s=1)
    source._pause = pause
    marks = await asyncio.to_thread(lambda: list(source.documents()))
    assert [mark.name.removeprefix(pages.url) for mark in marks] == ["/", "/open"]
    assert "/private/a" not in pages.asked
    assert waited == [1.0, 7.0] or waited == [7.0, 7.0]


async def test_a_site_whose_robots_txt_fails_is_not_read(pages: Pages, tmp_path: Path) -> None:
    """It may forbid everything."""
    pages.at = {"/robots.txt": 503, "/": page("Start")}
    with pytest.raises(SourceError, match="nothing is read without it"):
        await look(pages, tmp_path)


async def test_traps_end(pages: Pages, tmp_path: Path) -> None:
    """Calendars of queries, paths that grow, and sites without an end are bounded, and that is told."""
    pages.at = {
        "/": page("Start", "/cal?d=1", "/deep/"),
        "/cal": lambda request: page("Day", f"/cal?d={int(request.query.get('d', 0)) + 1}"),
        **{f"/deep/{'deep/' * number}": page(f"Deep {number}", "deep/") for number in range(9)},
    }
    _, found = await look(pages, tmp_path, depth=200)
    assert sum("?" in path for path in found) == 50
    assert sum("deep" in path for path in found) == 2
    source, found = await look(pages, tmp_path / "few", most=3)
    assert len(found) == 3
    assert "more pages than most: 3" in source.problems[0]


async def test_a_sitemap_lists_pages_and_further_sitemaps(pages: Pages, tmp_path: Path) -> None:
    """Compressed ones, too; a page whose `lastmod` is the same is not even asked for."""
    address = "<url><loc>{}{}</loc><lastmod>2026-01-0{}</lastmod></url>".format
    space = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'

    def listed(*urls: str) -> bytes:
        return f'<?xml version="1.0"?><urlset {space}>{"".join(urls)}</urlset>'.encode()

    index = f"<sitemapindex {space}><sitemap><loc>{pages.url}/one.xml.gz</loc></sitemap></sitemapindex>"
    more = (address(pages.url, "/b", 1), address("https://example.com", "/x", 1))
    pages.at = {
        "/sitemap.xml": index.encode(),
        "/one.xml.gz": gzip.compress(listed(address(pages.url, "/a", 1), *more)),
        "/a": page("A", "/unlisted"),
        "/b": page("B"),
    }
    _, found = await look(pages, tmp_path, "/sitemap.xml")
    assert list(found) == ["/a", "/b"]
    pages.at["/one.xml.gz"] = gzip.compress(listed(address(pages.url, "/a", 2), *more))
    await look(pages, tmp_path, "/sitemap.xml")
    assert (pages.asked["/a"], pages.asked["/b"]) == (2, 1)
    _, found = await look(pages, tmp_path, "/", find_by="sitemap")
    assert list(found) == ["/a", "/b"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html><p>Not found", "is no sitemap"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><urlset><url><loc>&a;</loc></url></urlset>', "declares entities"),
        (b"\x1f\x8bnothing", "cannot be unpacked"),
        (gzip.compress(b" " * 70_000_000), "is larger than"),
    ],
    ids=["a page", "entities", "damaged", "a bomb"],
)
async def test_what_is_no_sitemap_is_an_error(pages: Pages, tmp_path: Path, data: bytes, reason: str) -> None:
    """It expands into nothing."""
    pages.at = {"/sitemap.xml": data}
    with pytest.raises(SourceError, match=reason):
        await look(pages, tmp_path, "/sitemap.xml")


async def test_redirects_stay_within_the_site(pages: Pages, tmp_path: Path) -> None:
    """One to another page of it is that page; one that leads out is not followed."""
    pages.at = {
        "/docs/": page("Start", "old", "out"),
        "/docs/old": redirect("/docs/new"),
        "/docs/new": page("New"),
        "/docs/out": redirect("http://169.254.169.254/latest/meta-data/"),
    }
    _, found = await look(pages, tmp_path, "/docs/")
    assert list(found) == ["/docs/", "/docs/new"]


async def test_what_pages_say_of_themselves_counts(pages: Pages, tmp_path: Path) -> None:
    """`noindex`, `nofollow` and the canonical address."""
    pages.at = {
        "/": page("Start", "/hidden", "/print") + "<a rel=nofollow href='/ad'>ad</a>",
        "/hidden": page("Hidden", "/below") + "<meta name=robots content='noindex, follow'>",
        "/below": page("Below") + "<meta name='robots' content='nofollow'><a href='/further'>x</a>",
        "/print": page("Print") + "<link rel=canonical href='/below'>",
    }
    _, found = await look(pages, tmp_path)
    assert list(found) == ["/", "/below"]
    assert pages.asked.keys() & {"/ad", "/further"} == set()


async def test_the_main_text_is_read_without_what_stands_around_it(pages: Pages, tmp_path: Path) -> None:
    """By trafilatura; headings, lists, tables and code stay what they are."""
    around = "<div class='menu'><ul><li><a href='/x'>Products</a><li><a href='/y'>Imprint</a></ul></div>"
    facts = (f"Employees in office {number} have {number + 20} days of leave in each full year." for number in range(9))
    body = "".join(f"<p>{fact}</p>" for fact in facts)
    table = "<table><tr><th>Year</th><th>Days</th></tr><tr><td>2024</td><td>28</td></tr></table>"
    text = f"<div id='content'><h1>Leave</h1>{body}<h2>Days</h2>{table}</div>"
    pages.at = {"/": f"<html><head><title>Leave</title></head><body>{around}{text}{around}</body></html>"}
    source, found = await look(pages, tmp_path)
    read = " ".join(item.text for item in source.read(found["/"]).items)
    assert ("28 days" in read, "2024" in read, "Imprint" in read) == (True, True, False)
    source, found = await look(pages, tmp_path, main_only=False)
    assert "Imprint" in " ".join(item.text for item in source.read(found["/"]).items)


async def test_an_interrupted_round_goes_on_where_it_was(pages: Pages, tmp_path: Path) -> None:
    """What was fetched in it is not asked for again."""
    pages.at = {"/": page("Start", "/a", "/b"), "/a": page("A"), "/b": page("B")}
    source = SITE(url=f"{pages.url}/", cache=str(tmp_path), delay_s=1)
    waits = 0

    async def pause(seconds: float) -> None:
        nonlocal waits
        waits += 1
        if waits == 3:
            raise KeyboardInterrupt

    source._pause = pause
    with pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(lambda: list(source.documents()))
    _, found = await look(pages, tmp_path)
    assert list(found) == ["/", "/a", "/b"]
    assert (pages.asked["/"], pages.asked["/a"], pages.asked["/b"]) == (1, 1, 1)


async def test_a_pipeline_gathers_the_pages(pages: Pages, tmp_path: Path) -> None:
    """In another process, from what was fetched; the same tuple while nothing has changed."""
    pages.at = {"/": page("Start", "/a"), "/a": page("Leave")}
    source = SITE(url=f"{pages.url}/", cache=str(tmp_path), delay_s=0, refresh_s=0)
    first = await source.gather("", RunContext())
    assert [item.title for item in first] == ["Start", "Leave"]
    assert await source.gather("", RunContext()) is first


@pytest.mark.parametrize("url", ["ftp://x/", "example.com", "https://", "https://me:secret@example.com/"])
def test_what_is_no_address_of_a_site_is_refused(url: str) -> None:
    """Before anything is fetched, and without showing a password."""
    with pytest.raises(ValueError, match="address") as caught:
        SITE(url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("HTTP://Example.COM:80/a/../b//c/./d/#x", "http://example.com/b/c/d/"),
        ("https://example.com", "https://example.com/"),
        ("https://example.com/.well-known/x", "https://example.com/.well-known/x"),
        ("https://example.com/a?utm_source=x&b=1&sid=3", "https://example.com/a?b=1"),
        ("https://example.com/a%7Eb/%C3%BC ü", "https://example.com/a~b/%C3%BC%20%C3%BC"),
        ("https://[::1]:8080/a", "https://[::1]:8080/a"),
        ("mailto:me@example.com", ""),
        ("https://example.com:port/", ""),
    ],
)
def test_an_address_has_one_form(url: str, form: str) -> None:
    """All spellings of it lead to one document."""
    from nexus_sources.web.links import canonical

    assert canonical(url) == form
    assert canonical(form) == form


@pytest.mark.parametrize("piece", ["<a ", "<a href='x' ", "<a a=", "<a x" + " x" * 40, "<link <", "<a b" + "-" * 90])
def test_links_take_time_in_proportion_to_the_page(piece: str) -> None:
    """Whatever a page is made of."""
    from time import process_time

    from nexus_sources.web.links import read_links

    def cost(times: int) -> float:
        data = (piece * times).encode()
        began = process_time()
        read_links(data, "https://example.com/")
        return process_time() - began

    short = min(cost(400_000 // len(piece)) for _ in range(3))
    assert min(cost(1_600_000 // len(piece)) for _ in range(3)) < 12 * short + 0.2
