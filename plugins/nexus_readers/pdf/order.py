"""The reading order of a page: its columns, the rows in them, and what stands across all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from attrs import define, evolve

from nexus_readers.pdf.spans import Span

_FEWEST = 4
"""Lines on each side of a gutter."""
_DEEPEST = 4
_BIN = 2.0
_MOST_BINS = 1500
_ACROSS = 0.2
"""So many of the lines may stand across a gutter: titles, wide tables."""
_GUTTER = 6.0
"""The narrowest one, in points."""
_WORDY = 14
"""Characters of a line of text on the average; cells of tables have fewer."""
_BULLET = re.compile(r"[•◦▪▫‣⁃∙·●○■□➢➤►✓✔❖*\uf0a7\uf0b7\uf0d8–—-]|(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)]|\([\da-z]{1,3}\)")
BARE_NUMBER = re.compile(r"\d{1,2}")


@define(eq=False)
class Row:
    """What stands on one line, from left to right; several spans where gaps are between."""

    spans: list[Span]

    @property
    def first(self) -> Span:
        """The leftmost span."""
        return self.spans[0]

    @property
    def left(self) -> float:
        """Where it begins."""
        return self.spans[0].left

    @property
    def right(self) -> float:
        """Where it ends."""
        return max(span.right for span in self.spans)

    @property
    def top(self) -> float:
        """Its upper edge."""
        return min(span.top for span in self.spans)

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return max(span.bottom for span in self.spans)

    @property
    def text(self) -> str:
        """All that is on it."""
        return " ".join(span.text for span in self.spans)


def regions_of(spans: Sequence[Span]) -> list[list[Row]]:
    """Return the rows of a page in reading order: a list for each column, and for each stretch across columns."""
    rows = _drawn_in_order(spans)
    if rows is not None and not _are_columns(rows):
        return [rows] if rows else []
    return [_with_bullets(region) for region in _regions(list(spans), 0) if region]


def _drawn_in_order(spans: Sequence[Span]) -> list[Row] | None:
    """Return the rows of a page that is drawn from top to bottom, from left to right; None if it is not."""
    rows: list[list[Span]] = []
    for span in spans:
        if rows:
            last = rows[-1][-1]
            if abs(span.base - last.base) < 0.4 * min(span.size, last.size):
                if span.left < last.right - 0.5 * span.size:
                    return None
                rows[-1].append(span)
                continue
            if span.base < last.base:
                return None
        rows.append([span])
    return _with_bullets([Row(row) for row in rows])


def _are_columns(rows: Sequence[Row]) -> bool:
    """Tell whether rows hold lines of several columns of text beside each other."""
    beside = [row for row in rows if len(row.spans) > 1]
    if len(beside) < max(2 * _FEWEST, 0.4 * len(rows)):
        return False
    letters = sum(len(span.text) for row in beside for span in row.spans)
    return letters / sum(len(row.spans) for row in beside) > 2 * _WORDY


def _with_bullets(rows: list[Row]) -> list[Row]:
    """Let the bullet or number of a list item be one span with what follows it."""
    for row in rows:
        if len(row.spans) > 1 and _leads(row.spans):
            first, second = row.spans[:2]
            row.spans[:2] = [evolve(second, text=f"{first.text} {second.text}", left=first.left, first=first.first)]
    return rows


def _leads(spans: Sequence[Span]) -> bool:
    text, gap = spans[0].text, spans[1].left - spans[0].right
    if _BULLET.fullmatch(text):
        return gap < 4 * spans[1].size
    return len(spans) == 2 and BARE_NUMBER.fullmatch(text) is not None and gap < 1.6 * spans[1].size


def _regions(spans: list[Span], depth: int) -> Iterator[list[Row]]:
    gutter = _gutter(spans) if depth < _DEEPEST and len(spans) >= 2 * _FEWEST else None
    if gutter is None:
        yield _in_rows(spans)
        return
    across = sorted((span for span in spans if span.left < gutter < span.right), key=lambda span: span.base)
    beside = sorted((span for span in spans if not span.left < gutter < span.right), key=lambda span: span.base)
    at = 0
    held: list[Span] = []
    for span in across:
        begin = at
        while at < len(beside) and beside[at].base < span.base - 0.3 * span.size:
            at += 1
        if at > begin:
            yield _in_rows(held)
            held = []
            yield from _sides(beside[begin:at], gutter, depth)
        held.append(span)
    yield _in_rows(held)
    yield from _sides(beside[at:], gutter, depth)


def _sides(spans: list[Span], gutter: float, depth: int) -> Iterator[list[Row]]:
    if spans:
        yield from _regions([span for span in spans if span.right <= gutter], depth + 1)
        yield from _regions([span for span in spans if span.right > gutter], depth + 1)


def _gutter(spans: Sequence[Span]) -> float | None:
    """Return where the space between two columns is, if there are columns."""
    low, high = min(span.left for span in spans), max(span.right for span in spans)
    size = max(_BIN, (high - low) / _MOST_BINS)
    count = int((high - low) / size) + 2
    begins, ends = [0] * count, [0] * count
    for span in spans:
        begins[int((span.left - low) / size)] += 1
        ends[min(count - 1, int((span.right - low) / size) + 1)] += 1
    begun, ended = list(accumulate(begins)), list(accumulate(ends))
    total = len(spans)
    best: tuple[float, float] | None = None
    run = 0
    for place in range(count):
        across = begun[place] - ended[place]
        fits = ended[place] >= _FEWEST and total - begun[place] >= _FEWEST and across <= _ACROSS * total
        run = run + 1 if fits and place and across == begun[place - 1] - ended[place - 1] else int(fits)
        if fits and run * size >= _GUTTER and (best is None or (across, -run) < best[:2]):
            best, middle = (across, -run), low + (place - run / 2 + 0.5) * size
    return middle if best is not None and _separates(spans, middle) else None


def _separates(spans: Sequence[Span], gutter: float) -> bool:
    """Tell whether there is text on both sides, beside each other."""
    sides = [span for span in spans if span.right <= gutter], [span for span in spans if span.left >= gutter]
    if min(map(len, sides)) < _FEWEST:
        return False
    if any(sum(len(span.text) for span in side) < _WORDY * len(side) for side in sides):
        return False
    tops = [min(span.top for span in side) for side in sides]
    bottoms = [max(span.bottom for span in side) for side in sides]
    shared = min(bottoms) - max(tops)
    return shared > 0.4 * min(bottom - top for top, bottom in zip(tops, bottoms, strict=True))


def _in_rows(spans: Sequence[Span]) -> list[Row]:
    """Return spans from top to bottom, those on one line together."""
    rows: list[list[Span]] = []
    for span in sorted(spans, key=lambda each: each.base):
        if rows and abs(span.base - rows[-1][0].base) < 0.4 * min(span.size, rows[-1][0].size):
            rows[-1].append(span)
        else:
            rows.append([span])
    return [Row(row) for each in rows for row in _beside(sorted(each, key=lambda span: span.left))]


def _beside(spans: list[Span]) -> Iterator[list[Span]]:
    """Yield the spans of a row, apart where they lie over each other."""
    begin = 0
    for at, (left, right) in enumerate(pairwise(spans), 1):
        if right.left < left.right - 0.5 * right.size:
            yield spans[begin:at]
            begin = at
    yield from [spans[begin:]] if spans[begin:] else []
