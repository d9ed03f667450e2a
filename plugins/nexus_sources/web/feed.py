"""The source `feed`: the entries of RSS and Atom, each a document."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from attrs import evolve
from platformdirs import user_cache_path

from nexus_core import DocumentMark, DocumentRead, Item, SourceError, component, hookimpl, option
from nexus_core.toolkit import FileOrigin, call_apart, require_extra
from nexus_sources.ingestible import digest_of, read_bytes
from nexus_sources.remote.documents import RemoteDocuments
from nexus_sources.web.links import canonical
from nexus_sources.web.page_cache import CachedPage, PageCache

_MOST_ENTRIES = 10_000
_SUFFIX = ".html"


@component
class Feed(RemoteDocuments):
    """Reads the entries of a feed, RSS or Atom; those that have left it are kept."""

    name: ClassVar[str] = "feed"

    url: str = option(help="The address of the feed, beginning with `https://` or `http://`.")
    keep: bool = option(True, help="Entries that are no longer in the feed stay; `false`: only what it has now.")
    timeout_s: float = option(30.0, help="The time that the feed may take to come, in seconds.", gt=0)
    cache: str = option("", help="The folder where entries are kept; by default in your cache folder.")

    def _check(self) -> None:
        parts = urlsplit(self.url)
        if not canonical(self.url):
            raise ValueError("the address must begin with https:// or http:// and name a host")
        if parts.username or parts.password:
            raise ValueError("the address holds a name or password, which is not sent: leave it out")

    @classmethod
    def address_options(cls, address: str) -> Mapping[str, Any]:
        """Return the options of `feed+https://...`."""
        return {"url": address.partition("+")[2]}

    @property
    def origin(self) -> str:
        """What the entries are known by as a whole."""
        return f"feed+{canonical(self.url)}"

    @property
    def within(self) -> str:
        """What the names of all entries begin with: the address of the feed."""
        return f"{canonical(self.url)}#"

    def documents(self) -> Iterable[DocumentMark]:
        """Return the entries; the feed is fetched for it where it may have changed."""
        cache = self._cache()
        cache.begin_round()
        listed = asyncio.run(self._looked(cache))
        pages = [page for name in listed if (page := cache.page(name)) is not None]
        return [
            self._with_reader(
                DocumentMark(name=page.url, place=page.url, stamp=page.digest, apart=True), _origin(page.url)
            )
            for page in pages
        ]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of one entry."""
        data = self._cache().body(mark.place)
        if data is None:
            return DocumentRead(problems=["was fetched, and is no longer in the cache folder: try again"])
        digest = digest_of(data, self._document_reader().reader_of(_origin(mark.name)))
        if digest == known:
            return DocumentRead(digest=known, size=len(data), same=True)
        entry: dict[str, str] = json.loads(data)
        page = f"<!doctype html><meta charset=utf-8><title>{escape(entry['title'])}</title>{entry['content']}"
        read = read_bytes(page.encode(), _origin(mark.name), self._document_reader())
        told = {name: entry[name] for name in ("author", "published", "url") if entry[name]}
        items = [_described(item, entry, told) for item in read.items]
        return evolve(read, items=items or [_titled(mark, entry, told)], digest=digest, original=data)

    async def _looked(self, cache: PageCache) -> tuple[str, ...]:
        """Return the names of the entries, after the feed was asked for what is new."""
        from nexus_core.toolkit import FetchRules, fetch_page  # aiohttp

        before = cache.page(canonical(self.url))
        known = before.links if before is not None else ()
        rules = FetchRules(conditions=before.conditions if before is not None else {})
        try:
            fetched = await fetch_page(self.url, max_bytes=self.max_bytes, timeout_s=self.timeout_s, rules=rules)
            if fetched.same:
                return known
            # Whoever wrote the feed may want that reading it never ends.
            entries = await call_apart(self.read_s, read_entries, fetched.data)
        except SourceError as error:
            raise SourceError(f"feed: {self.url} {error}") from error
        names = {f"{self.within}{entry['id']}": entry for entry in entries}
        for name, entry in names.items():
            data = json.dumps(entry, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")
            cache.keep(CachedPage(url=name, digest=digest_of(data)), data)
        listed = tuple(dict.fromkeys((*names, *(known if self.keep else ()))))
        feed = CachedPage(
            url=canonical(self.url), digest="", etag=fetched.etag, last_modified=fetched.last_modified, links=listed
        )
        cache.keep(feed, b"")
        return listed

    def _cache(self) -> PageCache:
        folder = os.path.expanduser(self.cache) if self.cache else str(user_cache_path("contextnexus") / "feeds")
        key = sha256(canonical(self.url).encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return PageCache(Path(os.path.abspath(os.path.join(self.base_dir, folder)), key))


def read_entries(data: bytes) -> list[dict[str, str]]:
    """Return the entries of a feed; raises SourceError where it is none."""
    found = require_extra("feedparser", "web", "feeds").parse(BytesIO(data))
    if not found.get("version") and not found.entries:
        raise SourceError("is no feed: it is neither RSS nor Atom")
    entries = []
    for entry in found.entries[:_MOST_ENTRIES]:
        contents = [each.get("value", "") for each in entry.get("content", ())]
        id = entry.get("id") or entry.get("link") or entry.get("title") or ""
        if id:
            entries.append(
                {
                    "id": "".join(letter for letter in str(id) if letter.isprintable())[:2000],
                    "title": str(entry.get("title", "")),
                    "url": str(entry.get("link", "")),
                    "author": str(entry.get("author", "")),
                    "published": str(entry.get("published", "") or entry.get("updated", "")),
                    "content": max([*contents, str(entry.get("summary", ""))], key=len),
                }
            )
    return entries


def _origin(name: str) -> FileOrigin:
    return FileOrigin(name=name, suffix=_SUFFIX)


def _described(item: Item, entry: Mapping[str, str], told: Mapping[str, str]) -> Item:
    metadata = {**item.metadata, **told}
    return evolve(item, title=item.title or entry["title"], source=entry["url"] or item.source, metadata=metadata)


def _titled(mark: DocumentMark, entry: Mapping[str, str], told: Mapping[str, str]) -> Item:
    """Return an entry that has nothing but a title."""
    return Item(id=mark.name, title=entry["title"], text=entry["title"], source=entry["url"], metadata=dict(told))


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `feed`."""
    return [Feed]
