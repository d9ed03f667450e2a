"""What is usual in a document: the size of its text, and by which sizes its headings are told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from attrs import define, field

from nexus_readers.pdf.order import PageRow
from nexus_readers.pdf.spans import PageSpan

_LARGER = 1.13
"""A heading is so much larger than the text."""
_NUMBER = re.compile(r"(?:§\s*)?(?:\d{1,3}|[A-Z]|[IVX]{1,5})(?:\.\d{1,3})*\.?")
"""Of a heading, with a gap after it."""
_LONGEST = 200
"""Characters of a heading."""
_SHORT = 400
"""Characters of a document in which a heading may be longer than the text below it."""
_NO_CODE = 5
"""How much more than a character of code one of the text counts for its size."""
_SENTENCE = 1.5
"""A heading that ends with a full stop is so much larger than the text."""
_MOST_SIZES = 5
"""Levels of headings that are told by their sizes."""


@define(eq=False)
class PageStyle:
    """The usual sizes of a document, by its first pages."""

    body: float = 10.0
    is_mono: bool = False
    """The text itself has a font of fixed width."""
    is_bold: bool = False
    sizes: list[float] = field(factory=list)
    """Of headings, the largest first."""

    @classmethod
    def of(cls, spans: Iterable[PageSpan]) -> PageStyle:
        """Return the style of some spans."""
        letters: Counter[float] = Counter()
        headings: Counter[float] = Counter()
        total = mono = bold = 0
        kept = [span for span in spans if span.last > span.first]  # no values of fields
        for span in kept:
            count = len(span.text)
            letters[round(2 * span.size) / 2] += count * (1 if span.mono else _NO_CODE)
            total += count
            mono += count * span.mono
            bold += count * span.bold
        body = max(letters, key=lambda size: (letters[size], -size), default=10.0)
        if total < _SHORT:
            body = min((size for size, count in letters.items() if 3 * count > letters[body]), default=body)
        for span in kept:
            if span.size > _LARGER * body and _has_words(span.text):
                headings[round(2 * span.size) / 2] += 1
        sizes = sorted(headings, reverse=True)
        return cls(body, mono > 0.7 * total, bold > 0.6 * total, sizes)

    def is_heading(self, row: PageRow) -> bool:
        """Tell whether a line is a heading by its look."""
        span = row.first
        if span.name:
            return False
        larger = span.size > _LARGER * self.body
        if not larger and (not span.bold or self.is_bold or span.size < 0.94 * self.body):
            return False
        if (
            len(row.spans) > 1 + bool(_NUMBER.fullmatch(span.text))
            or len(row.text) > _LONGEST
            or span.mono > self.is_mono
            or not _has_words(row.text)
        ):
            return False
        if larger:
            return span.size > _SENTENCE * self.body or not row.text.endswith(".") or row.text.count(" ") < 3
        return all(each.bold for each in row.spans) and not row.text.endswith((".", ",", ";", ":"))

    def level(self, span: PageSpan) -> int:
        """Return the level of a heading."""
        size = round(2 * span.size) / 2
        if size in self.sizes[:_MOST_SIZES]:
            return self.sizes.index(size) + 1
        larger = [each for each in self.sizes[:_MOST_SIZES] if each > size]
        return min(len(larger) + 1, 6)

    def is_small(self, span: PageSpan) -> bool:
        """Tell whether something is smaller than the text, as notes are."""
        return span.size < 0.95 * self.body


def _has_words(text: str) -> bool:
    return sum(map(str.isalpha, text[:60])) >= 2
