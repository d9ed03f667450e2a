"""The outline of a PDF: which of its entries stand as headings on a page, and what it names that no line shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ctypes import byref, c_float, c_int
from functools import partial
from itertools import islice
from typing import Any

from attrs import define, field, frozen

from nexus_core import Block, Heading, Place
from nexus_readers.pdf.document import wide_text
from nexus_readers.pdf.order import PageRow

_LONGEST = 5000
"""Entries of an outline that are read."""
_LONGEST_NUMBER = 24
"""Characters that stand before a title on its page, such as `Chapter 12: `."""
_DEEPEST = 32
_MOST_ROWS = 3
"""Lines of a heading that are put together to find its title."""
_NO_LETTER = re.compile(r"[\W_]+")
_COUNTED = re.compile(r"\s*(?:chapter|section|part|appendix|kapitel)?\s*[\dIVX.]+[\s.:)]+", re.IGNORECASE)


@frozen(eq=False)
class OutlineEntry:
    """A title of the outline."""

    title: str
    level: int
    top: float | None
    """Where it stands on its page, counted from its lower edge."""


@define(eq=False)
class Outline:
    """The outline of a document, by pages."""

    pages: dict[int, list[OutlineEntry]] = field(factory=dict)
    level: int = 0
    """Of the last heading that it named; 0 before the first."""

    def below(self) -> int:
        """Return the level of a heading that it does not name; 0 where it has named none so far."""
        return min(self.level + 1, 6) if self.level else 0

    @classmethod
    def read(cls, raw: Any, document: Any) -> Outline:
        """Read the outline of a document; one that leads in circles ends at the most entries."""
        outline = cls()
        waiting = [(raw.FPDFBookmark_GetFirstChild(document, None), 1)]
        for _ in range(_LONGEST):
            while waiting and not waiting[-1][0]:
                waiting.pop()
            if not waiting:
                break
            mark, level = waiting.pop()
            waiting.append((raw.FPDFBookmark_GetNextSibling(document, mark), level))
            if level < _DEEPEST:
                waiting.append((raw.FPDFBookmark_GetFirstChild(document, mark), level + 1))
            target = raw.FPDFBookmark_GetDest(document, mark)
            page = raw.FPDFDest_GetDestPageIndex(document, target) if target else -1
            title = wide_text(partial(raw.FPDFBookmark_GetTitle, mark))
            if page >= 0 and title:
                entry = OutlineEntry(title, level, _top(raw, target))
                outline.pages.setdefault(page + 1, []).append(entry)
        return outline

    def on_page(self, number: int, height: float, regions: Sequence[Sequence[PageRow]]) -> PageOutline:
        """Return what of it is on a page with these rows."""
        entries = self.pages.pop(number, None)
        return PageOutline(self, number) if entries is None else PageOutline.of(self, number, height, regions, entries)


@define(eq=False)
class PageOutline:
    """The entries of one page, taken as its rows come by."""

    outline: Outline
    number: int
    longest: int = 0
    """Characters of a line that may be a title."""
    _shown: dict[str, list[OutlineEntry]] = field(factory=dict)
    """By the letters of its title."""
    _rows: set[int] = field(factory=set)
    """The rows that show a title best: it may stand in a running line, too."""
    _others: list[tuple[float, OutlineEntry]] = field(factory=list)
    """What no line shows, the last first, with its distance from the upper edge."""

    @classmethod
    def of(
        cls, outline: Outline, number: int, height: float, regions: Sequence[Sequence[PageRow]],
        entries: Sequence[OutlineEntry],
    ) -> PageOutline:  # fmt: skip
        """Tell those entries apart that lines show."""
        page = cls(outline, number)
        page.longest = max(len(entry.title) for entry in entries) + _LONGEST_NUMBER
        lines: dict[str, tuple[float, PageRow]] = {}
        for rows in regions:
            for at, row in enumerate(rows):
                size = row.first.size + row.first.bold + (0.5 if not row.text.isupper() else 0.0)
                for _, shown in page._joined(rows, at):
                    if shown not in lines or lines[shown][0] < size:
                        lines[shown] = (size, row)
        for entry in entries:
            title = plain(entry.title)
            if title in lines:
                page._shown.setdefault(title, []).append(entry)
                page._rows.add(id(lines[title][1]))
            else:
                page._others.append((0.0 if entry.top is None else height - entry.top, entry))
        page._others.sort(key=lambda other: other[0])
        page._others.reverse()
        return page

    def heading(self, rows: Sequence[PageRow], at: int) -> tuple[OutlineEntry, int] | None:
        """Return the entry that rows from here on show, and where they end."""
        if id(rows[at]) not in self._rows:
            return None
        for end, shown in self._joined(rows, at):
            if self._shown.get(shown):
                return self._shown[shown][0], end
        return None

    def take(self, rows: Sequence[PageRow], at: int) -> tuple[OutlineEntry, int] | None:
        """Return the entry that rows from here on show, and where they end; it is not shown again."""
        listed = self.heading(rows, at)
        if listed is not None:
            for _, shown in self._joined(rows, at):
                if listed[0] in self._shown.get(shown, ()):
                    self._shown[shown].pop(0)
                    break
            self.outline.level = listed[0].level
        return listed

    def is_entry(self, row: PageRow) -> bool:
        """Tell whether a title of the outline begins with a row."""
        return id(row) in self._rows

    def passed(self, row: PageRow | None) -> Iterator[Block]:
        """Yield the titles that no line shows and whose place is above a row, or all that are left."""
        while self._others and (row is None or self._others[-1][0] <= row.bottom):
            _, entry = self._others.pop()
            self.outline.level = entry.level
            yield Heading(text=entry.title, level=entry.level, implied=True, place=Place(page=self.number))

    def _joined(self, rows: Sequence[PageRow], at: int) -> Iterator[tuple[int, str]]:
        """Yield the letters of a row, and of it with the rows after it; with the number of a heading and without."""
        text = ""
        for end, row in enumerate(islice(rows, at, at + _MOST_ROWS), at + 1):
            text = f"{text} {row.text}" if text else row.text
            if len(text) > self.longest:
                return
            yield end, plain(text)
            if (number := _COUNTED.match(text)) is not None:
                yield end, plain(text[number.end() :])


def plain(text: str) -> str:
    """Return the letters and digits of a text alone."""
    return _NO_LETTER.sub("", text).casefold()


def _top(raw: Any, target: Any) -> float | None:
    flags, values = [c_int() for _ in range(3)], [c_float() for _ in range(3)]
    if not raw.FPDFDest_GetLocationInPage(target, *map(byref, flags), *map(byref, values)) or not flags[1].value:
        return None
    return values[1].value
