"""The source `site`: the pages of a web site, found by its links or its sitemap."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from attrs import evolve
from platformdirs import user_cache_path

from nexus_core import DocumentMark, DocumentRead, component, hookimpl, option, state
from nexus_core.toolkit import FileOrigin, finds_main_text, main_text
from nexus_sources.ingestible import digest_of, read_bytes
from nexus_sources.remote.documents import RemoteDocuments
from nexus_sources.remote.selection import NameSelection, as_tuple
from nexus_sources.web.links import SiteScope, canonical
from nexus_sources.web.page_cache import CachedPage, PageCache

_LISTS = (".xml", ".xml.gz")


@component
class Site(RemoteDocuments):
    """Reads the pages of a web site at and below an address: those that it links to, or that its sitemap lists."""

    name: ClassVar[str] = "site"

    url: str = option(help="Where it begins: only pages in this folder of the host are read. Or its sitemap.")
    find_by: Literal["auto", "links", "sitemap"] = option(
        "auto", help="How pages are found: `auto` is by the sitemap where `url` ends with `.xml` or `.xml.gz`."
    )
    paths: str | tuple[str, ...] = option(
        (), help="Patterns of the paths of pages that are read, such as `docs/**`; links of others are followed."
    )
    exclude: str | tuple[str, ...] = option((), help="Patterns of the paths of pages that are left out.")
    most: int = option(1_000, help="So many pages are read at most.", ge=1, le=100_000)
    depth: int = option(10, help="So many links away from `url` a page may be.", ge=0)
    delay_s: float = option(0.5, help="Seconds between two requests; more where `robots.txt` asks for it.", ge=0)
    timeout_s: float = option(30.0, help="The time that a page may take to come, in seconds.", gt=0)
    main_only: bool = option(True, help="Only the main text, without what stands around it; best with the extra `web`.")
    cache: str = option("", help="The folder where fetched pages are kept; by default in your cache folder.")
    _pause: Any = state(default=asyncio.sleep)

    def _check(self) -> None:
        parts = urlsplit(self.url)
        if not canonical(self.url):
            raise ValueError("the address must begin with https:// or http:// and name a host")
        if parts.username or parts.password:
            raise ValueError("the address holds a name or password, which is not sent: leave it out")

    @classmethod
    def address_options(cls, address: str) -> Mapping[str, Any]:
        """Return the options of `site+https://...` and `sitemap+https://...`."""
        kind, _, url = address.partition("+")
        return {"url": url, **({"find_by": "sitemap"} if kind.lower() == "sitemap" else {})}

    @property
    def origin(self) -> str:
        """What the pages are known by as a whole."""
        return f"site+{canonical(self.url)}"

    @property
    def within(self) -> str:
        """What the addresses of all pages begin with."""
        return SiteScope(canonical(self.url)).within

    @property
    def variant(self) -> str:
        """Tells by its options, and by what is installed, whether the same page is read in the same way."""
        way = "whole" if not self.main_only else "main" if finds_main_text() else ""
        return super().variant + way

    def documents(self) -> Iterable[DocumentMark]:
        """Return the pages; those that may have changed are fetched for it, and kept."""
        crawl = self._crawled()
        self._found_wrong = tuple(crawl.problems)
        pages: Mapping[str, CachedPage] = crawl.pages
        marks = [
            self._with_reader(DocumentMark(name=url, place=url, stamp=page.digest, apart=True), _origin(page))
            for url, page in sorted(pages.items())
            if url not in crawl.failed
        ]
        return marks + [DocumentMark(name=url, place=url, problem=why) for url, why in sorted(crawl.failed.items())]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of one page, as it was fetched."""
        cache = self._cache()
        page, data = cache.page(mark.place), cache.body(mark.place)
        if page is None or data is None:
            return DocumentRead(problems=["was fetched, and is no longer in the cache folder: try again"])
        digest = digest_of(data, self._document_reader().reader_of(_origin(page)))
        if digest == known:
            return DocumentRead(digest=known, size=len(data), same=True)
        text = main_text(data, page.suffix, page.url) if self.main_only else data
        read = read_bytes(text, _origin(page), self._document_reader())
        return evolve(read, digest=digest if read.digest else "", original=data)

    def _crawled(self) -> Any:
        from nexus_sources.web.crawl import CrawlSettings, SiteCrawl

        start = canonical(self.url)
        by_sitemap = self.find_by == "sitemap" or (self.find_by == "auto" and urlsplit(start).path.endswith(_LISTS))
        settings = CrawlSettings(
            start=start,
            by_sitemap=by_sitemap,
            most=self.most,
            depth=self.depth,
            delay_s=self.delay_s,
            timeout_s=self.timeout_s,
            max_bytes=self.max_bytes,
        )
        selection = NameSelection(paths=as_tuple(self.paths), exclude=as_tuple(self.exclude))
        crawl = SiteCrawl(settings, self._cache(), lambda url: _takes(selection, url), self._pause)
        asyncio.run(crawl.run())
        return crawl

    def _cache(self) -> PageCache:
        folder = os.path.expanduser(self.cache) if self.cache else str(user_cache_path("contextnexus") / "sites")
        key = sha256(canonical(self.url).encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return PageCache(Path(os.path.abspath(os.path.join(self.base_dir, folder)), key))


def _origin(page: CachedPage) -> FileOrigin:
    return FileOrigin(name=page.url, modified_ns=page.modified_ns, suffix=page.suffix)


def _takes(selection: NameSelection, url: str) -> bool:
    """Tell whether a page is wanted by its path; the page of a folder is wanted with what is in it."""
    path = urlsplit(url).path.strip("/")
    return selection.takes(path or "index.html")


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `site`."""
    return [Site]
