"""Reads sitemaps: lists of addresses as XML, as lines of text, compressed or not, and indexes of further ones."""

from __future__ import annotations

import zlib
from xml.parsers import expat

from attrs import define, field

from nexus_core import SourceError

MOST_UNPACKED = 60_000_000
"""Bytes; the protocol allows 50 MB."""
MOST_ADDRESSES = 50_000
"""Of one sitemap, as the protocol has it."""
_LONGEST = 4_000


@define
class Sitemap:
    """What a sitemap lists."""

    pages: dict[str, str] = field(factory=dict)
    """Addresses, each with when it was last changed; empty where that is not said."""
    sitemaps: list[str] = field(factory=list)
    """Further sitemaps."""


def read_sitemap(data: bytes) -> Sitemap:
    """Return what a sitemap lists; raises SourceError where it is none."""
    text = _unpacked(data)
    if not text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        lines = (line.strip() for line in text.decode("utf-8", "replace").splitlines())
        pages = dict.fromkeys((line for line in lines if line.startswith(("http://", "https://"))), "")
        return Sitemap(dict(list(pages.items())[:MOST_ADDRESSES]))
    return _Reader().read(text)


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    unpacking = zlib.decompressobj(wbits=31)
    try:
        text = unpacking.decompress(data, MOST_UNPACKED)
    except zlib.error as error:
        raise SourceError(f"is no sitemap: it cannot be unpacked ({error})") from error
    if unpacking.unconsumed_tail:
        raise SourceError(f"is larger than {MOST_UNPACKED:,} bytes when it is unpacked")
    return text


class _Reader:
    """Reads the XML with the parser's events; entities are refused, which are how small files become large ones."""

    def __init__(self) -> None:
        self.sitemap = Sitemap()
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._take
        self._parser.EntityDeclHandler = self._refuse
        self._root = ""
        self._said: dict[str, str] = {}
        self._text: list[str] = []

    def read(self, text: bytes) -> Sitemap:
        try:
            self._parser.Parse(text, True)
        except expat.ExpatError as error:
            raise SourceError(f"is no sitemap: its XML cannot be read ({error})") from error
        if self._root not in ("urlset", "sitemapindex"):
            raise SourceError(f"is no sitemap: its XML is a {self._root[:40] or 'nothing'!r}")
        return self.sitemap

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        self._root = self._root or local
        self._text = []
        if local in ("url", "sitemap"):
            self._said = {}

    def _take(self, text: str) -> None:
        if sum(map(len, self._text)) < _LONGEST:
            self._text.append(text)

    def _end(self, name: str) -> None:
        local = name.rpartition(" ")[2]
        if local in ("loc", "lastmod"):
            self._said.setdefault(local, "".join(self._text).strip())
        elif local == "url" and self._said.get("loc") and len(self.sitemap.pages) < MOST_ADDRESSES:
            self.sitemap.pages[self._said["loc"]] = self._said.get("lastmod", "")
        elif local == "sitemap" and self._said.get("loc") and len(self.sitemap.sitemaps) < MOST_ADDRESSES:
            self.sitemap.sitemaps.append(self._said["loc"])

    def _refuse(self, *declaration: object) -> None:
        raise SourceError("is no sitemap: it declares entities")
