"""What a page says of itself: title, author, date, language, from its head and what search engines are told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from selectolax.lexbor import LexborHTMLParser

from nexus_core import Metadata

_TITLES = ("og:title", "dc.title", "dcterms.title", "twitter:title", "citation_title")
_AUTHORS = ("author", "dc.creator", "dcterms.creator", "article:author", "citation_author", "byl", "parsely-author")
_DATES = (
    "article:published_time", "datepublished", "dc.date", "dcterms.date", "dcterms.created", "dc.date.issued",
    "dcterms.issued", "citation_publication_date", "citation_date", "pubdate", "publishdate", "date",
    "parsely-pub-date", "article:modified_time", "datemodified", "dcterms.modified", "last-modified", "og:updated_time",
)  # fmt: skip
_DATE = re.compile(r"\s*(\d{4})(?:([-/])(\d{2})(?:\2(\d{2})(T[\d:.]+(?:Z|[+-]\d{2}:?\d{2})?)?)?)?(?![\d/-])")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_MARKED = 'script[type="application/ld+json"], [itemprop], time, a[rel=author]'
_LONGEST = 300
_MOST_LD = 100_000
_MOST_NODES = 500


def metadata_of(page: LexborHTMLParser) -> Metadata:
    """Return what a page says of itself."""
    told = _meta(page)
    marked = page.css_first(_MARKED) is not None
    linked = _linked_data(page) if marked else {}
    title = page.css_first("head > title") or page.css_first("body title")
    in_head = " ".join(title.text().split()) if title is not None and not _in_picture(title) else ""
    return Metadata(
        title=(in_head or _first(told, _TITLES) or linked.get("headline", ""))[: 2 * _LONGEST],
        author=(
            _first(told, _AUTHORS, links=False) or linked.get("author", "") or (marked and _marked_author(page)) or ""
        )[:_LONGEST],
        date=_date(_first(told, _DATES))
        or _date(linked.get("datePublished", ""))
        or (marked and _marked_date(page))
        or "",
        language=_language(page, told),
        values=_readers(page),
    )


def _readers(page: LexborHTMLParser) -> Mapping[str, Any]:
    """Return who alone may see the page, by `<meta name="readers">`; several of them name nobody together."""
    said = [node.attributes for node in page.css("meta")]
    told = [each.get("content") or "" for each in said if (each.get("name") or "").strip().lower() == "readers"]
    return {"readers": told[0] if len(told) == 1 else ""} if told else {}


def _in_picture(title: Any) -> bool:
    return title.parent is not None and title.parent.tag == "svg"


def _meta(page: LexborHTMLParser) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in page.css("meta[content]"):
        said = node.attributes
        name = said.get("property") or said.get("name") or said.get("itemprop") or said.get("http-equiv") or ""
        value = " ".join((said.get("content") or "").split())
        if name and value:
            found.setdefault(name.strip().lower(), value)
    return found


def _first(told: Mapping[str, str], names: tuple[str, ...], links: bool = True) -> str:
    values = (told.get(name, "") for name in names)
    return next((value for value in values if value and (links or "://" not in value)), "")


def _date(written: str) -> str:
    """Return a date as ISO 8601, empty where it is written in another way."""
    found = _DATE.match(written.replace(" ", "T", 1) if written[10:11] == " " else written)
    if not found:
        return ""
    year, _, month, day, time = found.groups()
    return "-".join(filter(None, (year, month, day))) + (time or "")


def _marked_date(page: LexborHTMLParser) -> str:
    for query in ("[itemprop=datePublished]", "time[pubdate]", "article header time[datetime]", "time[datetime]"):
        node = page.css_first(query)
        if node is not None:
            said = node.attributes
            date = _date(said.get("datetime") or said.get("content") or node.text().strip()[:40])
            if date:
                return date
    return ""


def _marked_author(page: LexborHTMLParser) -> str:
    for query in ("[itemprop=author] [itemprop=name]", "[itemprop=author]", "a[rel=author]"):
        node = page.css_first(query)
        if node is not None:
            return " ".join((node.attributes.get("content") or node.text())[:_LONGEST].split())
    return ""


def _language(page: LexborHTMLParser, told: Mapping[str, str]) -> str:
    root = page.root
    said = root.attributes if root is not None else {}
    for written in (said.get("lang"), said.get("xml:lang"), told.get("content-language"), told.get("og:locale")):
        if written and _LANGUAGE.fullmatch(written.strip()):
            return written.strip().replace("_", "-")
    return ""


def _linked_data(page: LexborHTMLParser) -> dict[str, str]:
    """Return what JSON-LD tells of the first article or page that it describes."""
    found: dict[str, str] = {}
    for node in page.css('script[type="application/ld+json"]'):
        text = node.text()
        if len(text) > _MOST_LD:
            continue
        try:
            told = orjson.loads(text)
        except ValueError:
            continue
        for one in _described(told):
            for name in ("headline", "datePublished"):
                if isinstance(one.get(name), str):
                    found.setdefault(name, " ".join(one[name].split()))
            author = _names(one.get("author"))
            if author:
                found.setdefault("author", author)
    return found


def _described(told: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [told]
    for _ in range(_MOST_NODES):
        if not waiting:
            return
        one = waiting.pop(0)
        if isinstance(one, list):
            waiting[:0] = one[:_MOST_NODES]
        elif isinstance(one, dict):
            if "headline" in one or "datePublished" in one:
                yield one
            waiting[:0] = [one[name] for name in ("@graph", "mainEntity", "mainEntityOfPage") if name in one]


def _names(author: Any) -> str:
    if isinstance(author, str):
        return "" if "://" in author else " ".join(author.split())
    if isinstance(author, dict):
        return _names(author.get("name"))
    if isinstance(author, list):
        return ", ".join(filter(None, map(_names, author[:10])))
    return ""
