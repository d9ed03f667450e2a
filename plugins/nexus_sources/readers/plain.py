"""Reads plain text: whole, since what is very long is cut at its paragraphs whatever the kind of document."""

from __future__ import annotations

import re

from nexus_sources.readers.sections import ReadResult, Section

_TITLE = re.compile(r"\s*([^\W_][^\n]{2,78}[^\s.,;:!?])[ \t]*\n(?:[=~*-]+[ \t]*\n)?[ \t]*\n(?=\s*\S)")
"""A short first line that no stop ends, alone or underlined, with more below."""


def read(text: str) -> ReadResult:
    """Return the text as one section, titled by its first line where that stands alone."""
    title = _TITLE.match(text)
    begin = title.end() if title else 0
    section = Section(text=text[begin:].strip("\n"), line=text.count("\n", 0, begin) + 1)
    return ReadResult(text=section.text, sections=(section,), title=title[1] if title else "")
