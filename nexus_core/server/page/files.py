"""The files of the page, served exactly as they are packaged: nothing else is reached, and no other host is asked."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from attrs import frozen

from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    import gzip
    from importlib.resources.abc import Traversable
else:
    gzip = LazyModule("gzip")  # for who opens the page

INDEX = "index.html"
ADMIN = "admin"
"""The folder of the page for who administrates, whose address is the same."""
SHARED = "shared"
"""The folder of the page of a conversation that somebody shares, whose address is the same."""
VIEWS = "views"
"""The folder of the views that are loaded when they are opened."""
VENDOR = "vendor"
"""The folder of the libraries, as their makers ship them."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PREFIX = '<meta name="prefix" content="/api">'
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load and do: its own files, and requests to its own server."""
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@frozen
class _File:
    name: str
    path: Traversable
    prefix: str

    @cached_property
    def data(self) -> bytes:
        """What the file holds, read once somebody asks for it: of a server without a page it is half a MB."""
        data = self.path.read_bytes()
        if self.path.name != INDEX:
            return data
        return data.replace(_PREFIX.encode(), _PREFIX.replace("/api", html.escape(self.prefix)).encode())

    @cached_property
    def etag(self) -> str:
        """By which a browser knows whether it has the file."""
        return sha256(self.data).hexdigest()[:24]

    @cached_property
    def packed(self) -> bytes:
        """The same, compressed by gzip: all files take a tenth of the start of a server."""
        return gzip.compress(self.data, mtime=0)

    async def send(self, request: web.Request) -> web.Response:
        """Answer with the file, or with nothing where the browser has it already."""
        headers = {**_HEADERS, hdrs.ETAG: f'W/"{self.etag}"'}
        if any(known.value in (self.etag, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        headers[hdrs.CONTENT_TYPE] = _TYPES["." + self.name.rpartition(".")[2]]
        if "gzip" not in map(str.strip, request.headers.get(hdrs.ACCEPT_ENCODING, "").split(",")):
            return web.Response(body=self.data, headers=headers)
        return web.Response(body=self.packed, headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})


class PageFiles:
    """Serves the page at `/`, that for who administrates at `/admin`, and shared conversations at `/shared`."""

    def __init__(self, settings: ServerSettings) -> None:
        self._files = tuple(_read(settings))

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part: one for each file, and no pattern."""
        return [_route(file) for file in self._files]


def _read(settings: ServerSettings) -> list[_File]:
    return [
        _File(f"{folder}/{path.name}" if folder else path.name, path, settings.prefix)
        for folder in ("", ADMIN, SHARED, VIEWS, VENDOR)
        for path in sorted(files(__package__).joinpath(folder).iterdir(), key=lambda path: path.name)
        if "." + path.name.rpartition(".")[2] in _TYPES
    ]


def _route(file: _File) -> Route:
    shown = {
        INDEX: ("/", "showPage", "Show the web page."),
        f"{ADMIN}/{INDEX}": (f"/{ADMIN}", "showAdminPage", "Show the page of keys and spend."),
        f"{SHARED}/{INDEX}": (f"/{SHARED}", "showSharedPage", "Show the page of a conversation that somebody shares."),
    }
    as_file = (f"/page/{file.name}", "", f"Give the file {file.name} of the web page.")
    path, name, summary = shown.get(file.name, as_file)
    return Route(
        method="GET",
        path=path,
        handler=file.send,
        scope="public",
        name=name,
        summary=summary,
        bare=True,
        is_api=file.name in shown,
        answers_as=(_TYPES["." + file.name.rpartition(".")[2]].partition(";")[0],),
    )
