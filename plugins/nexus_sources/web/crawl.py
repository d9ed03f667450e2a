"""Fetches the pages of a site, by its links or its sitemap: politely, within bounds, and only what may have changed.

Imports aiohttp, so it is imported by functions only.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import urljoin
from urllib.robotparser import RobotFileParser

from attrs import define, evolve, field, frozen

from nexus_core import SourceError
from nexus_core.toolkit import FetchedPage, FetchRules, PageGoneError, fetch_page
from nexus_sources.web.links import PageLinks, SiteScope, canonical, read_links
from nexus_sources.web.page_cache import CachedPage, PageCache, digest_of
from nexus_sources.web.sitemap import read_sitemap

AGENT = "contextnexus"
"""What `robots.txt` calls who reads for this project."""
_LONGEST_DELAY_S = 30.0
_MOST_ROBOTS = 500_000
_MOST_SITEMAP = 60_000_000
_MOST_SITEMAPS = 100
_MOST_FAILURES = 20
"""After so many pages in a row that could not be fetched the site is taken for one that is down."""

logger = logging.getLogger("nexus_sources.site")


@frozen(kw_only=True)
class CrawlSettings:
    """How a site is read."""

    start: str
    by_sitemap: bool = False
    most: int = 1_000
    depth: int = 10
    delay_s: float = 0.5
    timeout_s: float = 30.0
    max_bytes: int = 20_000_000


@define(eq=False, repr=False)
class SiteCrawl:
    """One look at a site."""

    settings: CrawlSettings
    cache: PageCache
    takes: Callable[[str], bool]
    """Tells of a page's address whether it is one of those that are wanted; it is followed in any case."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    pages: dict[str, CachedPage] = field(factory=dict)
    """Those found, by their addresses."""
    failed: dict[str, str] = field(factory=dict)
    """Those that could not be fetched, with the reason."""
    problems: list[str] = field(factory=list)
    """Why there may be more pages than were found."""
    requests: int = 0
    _robots: RobotFileParser = field(factory=RobotFileParser)
    _open_only: bool | None = None
    """Whether the site is of no private network, told by the first answer: none of its pages may lead into one then."""
    _delay_s: float = 0.0
    _in_a_row: int = 0
    _began: float = 0.0
    _scope: SiteScope = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._scope = SiteScope(self.settings.start)
        self._delay_s = self.settings.delay_s

    async def run(self) -> None:
        """Find the pages; raises SourceError where there is nothing to begin with."""
        self._began = self.cache.begin_round()
        await self._read_robots()
        if self.settings.by_sitemap:
            await self._by_sitemap()
        else:
            await self._by_links()
        if self._in_a_row < _MOST_FAILURES:
            self.cache.end_round(self._began)

    # Finding pages

    async def _by_links(self) -> None:
        start = self.settings.start
        waiting, known = deque([(start, 0)]), {start}
        while waiting and not self._is_enough(len(waiting)):
            url, depth = waiting.popleft()
            page = await self._visit(url)
            if url == start and page is None:
                raise SourceError(f"site: {start} {self.failed.get(start) or 'is not there'}")
            for link in page.links if page is not None and depth < self.settings.depth else ():
                if link not in known and self._scope.takes(link):
                    known.add(link)
                    waiting.append((link, depth + 1))

    async def _by_sitemap(self) -> None:
        listed = await self._listed()
        for number, (url, changed) in enumerate(listed.items()):
            if self._is_enough(len(listed) - number):
                return
            await self._visit(url, changed)

    async def _listed(self) -> dict[str, str]:
        """Return the pages of all sitemaps, each with when it was last changed."""
        waiting, seen, listed = deque(self._sitemaps()), set[str](), dict[str, str]()
        while waiting and len(seen) < _MOST_SITEMAPS:
            url = waiting.popleft()
            if url in seen:
                continue
            seen.add(url)
            try:
                fetched = await self._request(url, max_bytes=_MOST_SITEMAP)
                found = read_sitemap(fetched.data)
            except SourceError as error:
                if len(seen) == 1 and not waiting:
                    raise SourceError(f"site: the sitemap {url} {error}") from error
                self.problems.append(f"the sitemap {url} {error}")
                continue
            waiting += [each for each in found.sitemaps if self._scope.holds(canonical(each))]
            for each, changed in found.pages.items():
                page = canonical(each)
                if page and self._scope.holds(page) and self.takes(page):
                    listed[page] = changed
        if waiting:
            self.problems.append(f"there are more than {_MOST_SITEMAPS} sitemaps: the rest was not looked at")
        return listed

    def _sitemaps(self) -> list[str]:
        path = self.settings.start.partition("?")[0]
        if path.endswith((".xml", ".xml.gz", ".txt")):
            return [self.settings.start]
        return self._robots.site_maps() or [urljoin(self.settings.start, "/sitemap.xml")]

    def _is_enough(self, left: int) -> bool:
        if len({*self.pages, *self.failed}) >= self.settings.most:
            self.problems.append(f"the site has more pages than most: {self.settings.most:,}; {left:,} were not read")
            return True
        if self._in_a_row >= _MOST_FAILURES:
            self.problems.append(f"{_MOST_FAILURES} pages in a row could not be fetched: the rest was not tried")
            return True
        return False

    # Pages

    async def _visit(self, url: str, listed: str = "") -> CachedPage | None:
        """Return a page, as it is kept where that is as new as it can be; None where there is none to be had."""
        if not self._robots.can_fetch(AGENT, url):
            return None
        before = self.cache.page(url)
        if before is not None and self._is_fresh(before, listed):
            page: CachedPage | None = before
        else:
            page = await self._fetched(url, before, listed)
        if page is not None and self._is_wanted(page):
            self.pages[url] = page
        return page

    def _is_fresh(self, page: CachedPage, listed: str) -> bool:
        """Tell whether a page need not be asked for: it was in this round, or its sitemap says that it is the same."""
        return page.checked >= self._began or (bool(listed) and page.listed == listed)

    def _is_wanted(self, page: CachedPage) -> bool:
        is_another = page.canonical not in ("", page.url) and self._scope.holds(page.canonical)
        return page.may_index and not is_another and self.takes(page.url)

    async def _fetched(self, url: str, before: CachedPage | None, listed: str) -> CachedPage | None:
        try:
            fetched = await self._request(url, before.conditions if before is not None else {})
        except PageGoneError:
            self.cache.forget(url)
            return None
        except SourceError as error:
            self.failed[url] = str(error)
            self._in_a_row += 1
            if before is None:
                self.problems.append(f"{url} {error}: what it alone leads to is not known")
            return before  # what it led to is still looked at
        self._in_a_row = 0
        now = self.cache.now()
        if fetched.same and before is not None:
            page = evolve(before, checked=now, listed=listed)
            self.cache.keep(page)
            return page
        page = self._page(url, fetched, listed, now)
        self.cache.keep(page, fetched.data)
        return page

    def _page(self, url: str, fetched: FetchedPage, listed: str, now: float) -> CachedPage:
        is_html = fetched.suffix in (".html", ".htm", ".xhtml", "")
        said = read_links(fetched.data, fetched.url) if is_html else PageLinks()
        final = canonical(fetched.url)
        return CachedPage(
            url=url,
            digest=digest_of(fetched.data),
            suffix=fetched.suffix or ".html",
            modified_ns=fetched.modified_ns,
            etag=fetched.etag,
            last_modified=fetched.last_modified,
            listed=listed,
            checked=now,
            links=tuple(sorted({final, said.canonical} - {url, ""})) + (said.links if said.may_follow else ()),
            # A page that leads to another one by a redirect is that one.
            canonical=said.canonical or (final if final != url else ""),
            may_index=said.may_index,
        )

    # Requests

    async def _read_robots(self) -> None:
        url = urljoin(self.settings.start, "/robots.txt")
        try:
            fetched = await self._request(url, max_bytes=_MOST_ROBOTS)
        except PageGoneError:
            self._robots.parse([])
        except SourceError as error:
            if " answer is 4" not in str(error):  # it may forbid what is about to be done
                raise SourceError(f"site: {url} {error}: nothing is read without it") from error
            self._robots.parse([])
        else:
            self._robots.parse(fetched.data.decode("utf-8", "replace").splitlines())
        asked = self._robots.crawl_delay(AGENT)
        if asked is not None:
            self._delay_s = max(self._delay_s, min(float(asked), _LONGEST_DELAY_S))

    async def _request(
        self, url: str, conditions: dict[str, str] | None = None, max_bytes: int | None = None
    ) -> FetchedPage:
        if self.requests and self._delay_s:
            await self.pause(self._delay_s)
        self.requests += 1
        rules = FetchRules(conditions=conditions or {}, open_only=bool(self._open_only), may_follow=self._may_follow)
        fetched = await fetch_page(
            url, max_bytes=max_bytes or self.settings.max_bytes, timeout_s=self.settings.timeout_s, rules=rules
        )
        if self._open_only is None:
            self._open_only = not fetched.is_private
        return fetched

    def _may_follow(self, url: str) -> bool:
        found = canonical(url)
        is_page = self._scope.holds(found)
        return (is_page and self._robots.can_fetch(AGENT, found)) if self._robots.mtime() else self._is_same_host(found)

    def _is_same_host(self, url: str) -> bool:
        return url.split("/")[2:3] == self.settings.start.split("/")[2:3]
