"""The source `url`: what comes over real sockets, and what is never fetched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO

import pytest
from aiohttp import web

from nexus_core import Documents, RunContext, SourceError
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry

pytestmark = pytest.mark.slow

URL = PluginRegistry.installed().component(Kind.SOURCE, "url")
PAGE = "<title>Travel</title><h1>Travel</h1><p>See <a href='/b.html#x'>b</a> and <a href='https://x.org/'>x</a>.</p>"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _pdf() -> bytes:
    from pypdfium2 import PdfDocument

    written = BytesIO()
    document = PdfDocument.new()
    document.new_page(100, 100).close()
    document.save(written)
    document.close()
    return written.getvalue()


async def _answer(request: web.Request) -> web.StreamResponse:
    match request.path:
        case "/page":
            return web.Response(text=PAGE, content_type="text/html")
        case "/long":
            return web.Response(text="<h2>Leave</h2><p>Up to five days.</p>" * 25_000, content_type="text/html")
        case "/latin":
            return web.Response(
                body="<p>café</p>".encode("latin-1"), headers={"Content-Type": "text/html; charset=latin-1"}
            )
        case "/notes.md":
            return web.Response(text="# Notes\n\nof the office", content_type="text/plain")
        case "/pdf":
            return web.Response(body=_pdf(), content_type="application/octet-stream")
        case "/moved":
            raise web.HTTPFound("/page")
        case "/metadata":
            raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")
        case "/file":
            raise web.HTTPFound("file:///etc/passwd")
        case "/loop":
            raise web.HTTPFound("/loop")
        case "/large":
            return web.Response(body=b"x" * 2_000_000, content_type="text/plain")
        case "/image":
            return web.Response(body=b"x", content_type="image/png")
        case "/broken":
            raise web.HTTPInternalServerError
    raise web.HTTPNotFound


@pytest.fixture
async def site() -> AsyncIterator[str]:
    runner = web.AppRunner(_app())
    await runner.setup()
    place = web.TCPSite(runner, "127.0.0.1", 0)
    await place.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def _app() -> web.Application:
    app = web.Application()
    app.router.add_get("/{tail:.*}", _answer)
    return app


@pytest.mark.parametrize(
    ("path", "title", "text"),
    [
        ("/page", "Travel", "See b and [x](https://x.org/)."),
        ("/moved", "Travel", "See b and [x](https://x.org/)."),
        ("/latin", "latin", "café"),
        ("/notes.md", "Notes", "of the office"),
    ],
    ids=lambda value: value.strip("/") if value.startswith("/") else None,
)
async def test_a_page_becomes_items_under_its_address(site: str, path: str, title: str, text: str) -> None:
    """By what it says that it is, else by its name; redirects are followed."""
    (item,) = await URL(url=site + path).gather("", RunContext())
    assert (item.id, item.source, item.title, item.text) == (site + path, site + path, title, text)


async def test_a_page_that_is_the_same_gives_the_same_items(site: str) -> None:
    """So that indexes are reused."""
    source = URL(url=f"{site}/page")
    assert (await source.gather("", RunContext()))[0] is (await source.gather("", RunContext()))[0]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "404"),
        ("/metadata", "never called"),
        ("/file", "leads to file:"),
        ("/loop", "more than 5 times"),
        ("/large", "over 1000000 bytes"),
        ("/image", "no text"),
        ("/broken", "cannot be fetched: the answer is 500"),
        ("/pdf", "PDF without any text"),
    ],
    ids=lambda value: value.strip("/") if value.startswith("/") else None,
)
async def test_what_cannot_be_had_is_an_error_with_the_reason(site: str, path: str, reason: str) -> None:
    """Bounded in size, and led nowhere it should not go (a server's metadata, a file)."""
    with pytest.raises(SourceError, match=reason):
        await URL(url=site + path, max_bytes=1_000_000).gather("", RunContext())


async def test_a_page_is_read_in_another_process_under_a_limit(site: str) -> None:
    """Whoever wrote the page cannot hold up who asks: a megabyte takes many times as long to be read."""
    with pytest.raises(SourceError, match="could not be read: did not end within 0.01 s"):
        await URL(url=f"{site}/long", read_s=0.01).gather("", RunContext())


async def test_where_nobody_listens_is_told_in_words() -> None:
    """What the system says, without its number."""
    import socket

    with socket.socket() as bound:  # and never listening
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(SourceError, match=r"cannot be fetched \(Connection refused\)"):
            await URL(url=f"http://127.0.0.1:{bound.getsockname()[1]}/").gather("", RunContext())


def test_the_document_is_the_page_without_what_is_secret() -> None:
    """No password in a name that people see."""
    source = URL(url="https://me:secret@example.com/a?b=1#c")
    assert isinstance(source, Documents)
    (mark,) = source.documents()
    assert mark.name == "https://example.com/a?b=1"


@pytest.mark.parametrize("url", ["ftp://x/y", "example.com", "https://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """Before anything is fetched."""
    with pytest.raises(ValueError, match="must begin with https://"):
        URL(url=url)
