"""What stands at the edges of most pages: running headers and footers, kept once, and page numbers, left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, islice

from attrs import define, field

from nexus_readers.pdf.spans import PageSpan

_EDGE = 0.12
"""The part of a page at its upper and at its lower edge where running lines stand."""
_LINES = 3
"""At each edge."""
_DIGITS = re.compile(r"\d{1,5}")
_PAGE_NUMBER = re.compile(
    r"[\W_]*(?:(?:page|seite|p\.|pag\.|página|pagina|стр\.?|第)\s*)?(?P<number>\d{1,5}|[ivxlc]{1,7})"
    r"(?:\s*(?:of|/|von|de|di|из|sur)\s*\d{1,5})?\s*页?[\W_]*",
    re.IGNORECASE,
)
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_BESIDE = 3
"""Pieces of a running line: left, middle, right."""
_FEWEST = 3
"""Pages on which a line must stand to be a running one."""


Key = tuple[str, int, int]


@define(eq=False)
class RunningLines:
    """Knows the running lines of the pages so far."""

    _pages: Counter[Key] = field(factory=Counter)
    _offsets: Counter[int] = field(factory=Counter)
    """How far the printed numbers are from those of the file."""
    _kept: set[Key] = field(factory=set)

    def learn(self, number: int, height: float, spans: Sequence[PageSpan]) -> None:
        """Look at the edges of a page."""
        seen: set[Key] = set()
        for span in edges(height, spans):
            printed = _printed(span.text)
            if printed is not None:
                self._offsets[printed - number] += 1
            else:
                seen.update(_keys(span, number))
        self._pages.update(seen)

    def without(self, number: int, height: float, spans: list[PageSpan]) -> tuple[list[PageSpan], str]:
        """Return the spans of a page without those that run through the document, and the number printed on it."""
        out: set[int] = set()
        label = ""
        for span in edges(height, spans):
            printed = _printed(span.text)
            if printed is not None:
                if self._offsets[printed - number] >= 2:
                    out.add(id(span))
                    found = _PAGE_NUMBER.fullmatch(span.text)
                    label = found.group("number") if found else ""
                continue
            running = [key for key in _keys(span, number) if self._pages[key] >= _FEWEST]
            if running:
                if not self._kept.isdisjoint(running):
                    out.add(id(span))
                self._kept.update(running)
        return ([span for span in spans if id(span) not in out] if out else spans), label


def edges(height: float, spans: Sequence[PageSpan]) -> list[PageSpan]:
    """Return the outermost lines of a page."""
    if not spans:
        return []
    top, bottom = _EDGE * height, (1 - _EDGE) * height
    upper = sorted((span for span in spans if span.bottom < top), key=lambda span: span.base)
    lower = sorted((span for span in spans if span.top > bottom), key=lambda span: -span.base)
    return [span for edge in (upper, lower) for span in _outermost(edge)]


def _outermost(spans: Sequence[PageSpan]) -> Iterator[PageSpan]:
    """Yield the spans of the first lines; those of a row of a table are none."""
    rows = groupby(spans[: 4 * _LINES], key=lambda span: round(span.base))
    for _, row in islice(rows, _LINES):
        beside = list(row)
        if len(beside) <= _BESIDE:
            yield from (span for span in beside if span.table is None)


def _keys(span: PageSpan, number: int) -> list[Key]:
    """Return by what a line is known again: its text, or its text and that a number in it is the page's."""
    place = round(span.base / 4)
    keys = [(span.text, place, 0)]
    for found in islice(_DIGITS.finditer(span.text), 4):
        text = f"{span.text[: found.start()]}#{span.text[found.end() :]}"
        keys.append((text, place, int(found.group()) - number))
    return keys


def _printed(text: str) -> int | None:
    """Return the number of a page that a line tells and nothing else."""
    found = _PAGE_NUMBER.fullmatch(text)
    if found is None:
        return None
    number = found.group("number").lower()
    return int(number) if number.isdigit() else -1_000_000 + _roman(number)


def _roman(text: str) -> int:
    values = [_ROMAN[letter] for letter in text]
    return sum(
        -value if value < following else value for value, following in zip(values, [*values[1:], 0], strict=True)
    )
