"""The main text of a page without what stands around it, found by trafilatura where that is installed."""

from __future__ import annotations

import re
from html import escape
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_TITLE = re.compile(r"<title\b[^<>]{0,500}>([^<]{1,2000})</title", re.IGNORECASE)
_HEADING = re.compile(r"<h[1-6][\s>]")
_HTML = frozenset({"", ".html", ".htm", ".xhtml"})
_MOST = 5_000_000
"""Bytes of a page that is searched so: what builds its tree takes many times as much memory."""


def finds_main_text() -> bool:
    """Tell whether pages can be freed from what stands around their text by more than the reader's own rules."""
    return find_spec("trafilatura") is not None


def main_text(data: bytes, suffix: str, url: str) -> bytes:
    """Return a page of HTML with its title and main text alone; the page itself where that cannot be told."""
    if suffix not in _HTML or len(data) > _MOST or not finds_main_text():
        return data
    extracting: Any = import_module("trafilatura")
    found = extracting.extract(
        data,
        url=url,
        output_format="html",
        include_links=True,
        include_tables=True,
        include_formatting=True,
        include_comments=False,
        favor_recall=True,
    )
    if not found or not _is_structured(found, data):
        return data
    # What it makes of the page is UTF-8, and has no title of its own.
    title = _TITLE.search(data[:100_000].decode("utf-8", "replace"))
    head = f"<title>{title[1].strip()}</title>" if title else f"<title>{escape(url)}</title>"
    return f'<!doctype html><html><head><meta charset="utf-8">{head}</head>{_body(found)}</html>'.encode()


def _is_structured(found: str, data: bytes) -> bool:
    """Tell whether what was found has headings and tables where the page has some.

    Where trafilatura finds no main text it gives all of the page as one paragraph, which the reader does better.
    """
    page = data.decode("utf-8", "replace").lower()
    return all(f"<{tag}" in found for tag in ("table", "pre") if f"<{tag}" in page) and (
        _HEADING.search(found) is not None or _HEADING.search(page) is None
    )


def _body(found: str) -> str:
    """Return the body of what was found, code in one fence instead of two."""
    start, end = found.find("<body"), found.rfind("</body>")
    body = found[start : end + 7] if 0 <= start < end else f"<body>{found}</body>"
    return re.sub(r"<pre>\s*<pre>", "<pre>", re.sub(r"</pre>\s*</pre>", "</pre>", body))
