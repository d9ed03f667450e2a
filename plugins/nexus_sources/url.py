"""The source `url`: one page or file from the web, in sections like a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from nexus_core import DocumentMark, DocumentRead, Item, RunContext, SourceError, component, hookimpl, option, state
from nexus_core.toolkit import (
    ApartError,
    DocumentReader,
    FileOrigin,
    ReaderRegistry,
    ReadSettings,
    SharedWork,
    call_apart,
)
from nexus_sources.ingestible import digest_of, read_bytes, read_whole

if TYPE_CHECKING:
    from nexus_core.toolkit import FetchedPage


@component
class Url:
    """Fetches one page or file over HTTP, of any format that is read; one item per section of a long one."""

    name = "url"

    url: str = option(help="The address, beginning with `https://` or `http://`.")
    max_bytes: int = option(20_000_000, help="What is larger is left out.", ge=1)
    timeout_s: float = option(30.0, help="The time it may take to come, in seconds.", gt=0)
    sections: bool = option(True, help="One item per section of a long page; `false`: one in all.")
    read_s: float = option(120.0, help="The time that reading it into items may take, in seconds.", gt=0)
    readers: Mapping[str, Any] = option(
        factory=dict, help="By suffix or media type, whose reader reads it, as `{.html: acme}`, or its options."
    )
    _known: Any = state()
    _work: SharedWork[tuple[Item, ...]] = state(SharedWork)

    def __attrs_post_init__(self) -> None:
        """Check the address; raises ValueError."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address must begin with https:// or http:// and name a host")
        if self.readers:
            ReaderRegistry.installed(self.readers).check()

    async def gather(self, query: str, run: RunContext) -> Sequence[Item]:
        """Return the items of the page, fetched once for all who ask meanwhile; the same ones while it is the same."""
        if not self._work.running:
            self._work.begin(self._fetched())
        return await self._work.result()

    async def _fetched(self) -> tuple[Item, ...]:
        from nexus_core.toolkit import fetch_page  # aiohttp

        known, items = self._known or ("", ())
        fetching = fetch_page(self.url, max_bytes=self.max_bytes, timeout_s=self.timeout_s)
        page = await self._work.stoppable(fetching)
        left_out = ""
        if digest_of(page.data) != known.partition(":")[0]:
            read = await self._work.stoppable(self._read_apart(page))
            items, left_out = tuple(read.items), read.left_out
            self._known = read.digest, items
        if not items:
            raise SourceError(f"url: {self._shown}: {left_out or 'has no text'}")
        return tuple(items)

    async def _read_apart(self, page: FetchedPage) -> DocumentRead:
        """Read a page in another process: whoever wrote it may want that reading it never ends."""
        try:
            return await call_apart(self.read_s, read_whole, *self._read_arguments(page, ""))
        except ApartError as error:
            raise SourceError(f"url: {self._shown} could not be read: {error}") from error

    @property
    def problems(self) -> tuple[str, ...]:
        """Nothing: there is no looking for a page."""
        return ()

    def documents(self) -> Iterable[DocumentMark]:
        """Return the page, unread."""
        return [DocumentMark(name=self._shown, place=self.url, apart=True)]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of the page."""
        from nexus_core.toolkit import fetch_page  # aiohttp

        page = asyncio.run(fetch_page(self.url, max_bytes=self.max_bytes, timeout_s=self.timeout_s))
        return read_bytes(*self._read_arguments(page, known))

    @property
    def _shown(self) -> str:
        """The address without what is nobody's business, and without the place in the page."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))

    def _read_arguments(self, page: FetchedPage, known: str) -> tuple[bytes, FileOrigin, DocumentReader, str]:
        """Return what `read_bytes` is asked of a page."""
        origin = FileOrigin(name=self._shown, modified_ns=page.modified_ns, suffix=page.suffix)
        settings = ReadSettings(max_bytes=self.max_bytes, sections=self.sections, readers=dict(self.readers))
        return page.data, origin, DocumentReader(settings), known


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `url`."""
    return [Url]
