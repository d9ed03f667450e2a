"""The reading order of a page: its columns, the rows in them, and what stands across all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from attrs import define, evolve

from nexus_readers.pdf.spans import PageSpan

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


@define(eq=False, init=False)
class PageRow:
    """What stands on one line, from left to right; several spans where gaps are between."""

    spans: list[PageSpan]
    first: PageSpan
    """The leftmost span."""
    text: str
    """All that is on it."""
    left: float
    top: float
    right: float
    bottom: float

    def __init__(self, spans: list[PageSpan]) -> None:
        self.spans = spans
        first = self.first = spans[0]
        self.left = first.left
        if len(spans) == 1:
            self.text, self.top, self.right, self.bottom = first.text, first.top, first.right, first.bottom
        else:
            self.text = " ".join([span.text for span in spans])
            self.top = min([span.top for span in spans])
            self.right = max([span.right for span in spans])
            self.bottom = max([span.bottom for span in spans])


def regions_of(spans: Sequence[PageSpan]) -> list[list[PageRow]]:
    """Return the rows of a page in reading order: a list for each column, and for each stretch across columns."""
    rows = _drawn_in_order(spans)
    if rows is not None and not _are_columns(rows):
        return [rows] if rows else []
    return [_with_bullets(region) for region in _regions(list(spans), 0) if region]


def _drawn_in_order(spans: Sequence[PageSpan]) -> list[PageRow] | None:
    """Return the rows of a page that is drawn from top to bottom, from left to right; None if it is not."""
    rows: list[list[PageSpan]] = []
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
    return _with_bullets([PageRow(row) for row in rows])


def _are_columns(rows: Sequence[PageRow]) -> bool:
    """Tell whether rows hold lines of several columns of text beside each other."""
    beside = [row for row in rows if len(row.spans) > 1]
    if len(beside) < max(2 * _FEWEST, 0.4 * len(rows)):
        return False
    letters = sum(len(span.text) for row in beside for span in row.spans)
    return letters / sum(len(row.spans) for row in beside) > 2 * _WORDY


def _with_bullets(rows: list[PageRow]) -> list[PageRow]:
    """Let the bullet or number of a list item be one span with what follows it."""
    for at, row in enumerate(rows):
        if len(row.spans) > 1 and _leads(row.spans):
            first, second, *others = row.spans
            item = evolve(second, text=f"{first.text} {second.text}", left=first.left, first=first.first)
            rows[at] = PageRow([item, *others])
    return rows


def _leads(spans: Sequence[PageSpan]) -> bool:
    text, gap = spans[0].text, spans[1].left - spans[0].right
    if _BULLET.fullmatch(text):
        return gap < 4 * spans[1].size
    return len(spans) == 2 and BARE_NUMBER.fullmatch(text) is not None and gap < 1.6 * spans[1].size


def _regions(spans: list[PageSpan], depth: int) -> Iterator[list[PageRow]]:
    gutter = _gutter(spans) if depth < _DEEPEST and len(spans) >= 2 * _FEWEST else None
    if gutter is None:
        yield _in_rows(spans)
        return
    across = sorted((span for span in spans if span.left < gutter < span.right), key=lambda span: span.base)
    beside = sorted((span for span in spans if not span.left < gutter < span.right), key=lambda span: span.base)
    at = 0
    held: list[PageSpan] = []
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


def _sides(spans: list[PageSpan], gutter: float, depth: int) -> Iterator[list[PageRow]]:
    if spans:
        yield from _regions([span for span in spans if span.right <= gutter], depth + 1)
        yield from _regions([span for span in spans if span.right > gutter], depth + 1)


def _gutter(spans: Sequence[PageSpan]) -> float | None:
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


def _separates(spans: Sequence[PageSpan], gutter: float) -> bool:
    """Tell whether there is text on both sides, beside each other."""
    sides = [span for span in spans if span.right <= gutter], [span for span in spans if span.left >= gutter]
    if min(map(len, sides)) < _FEWEST:
        return False
    if any(sum(len(span.text) for span in side) < _WORDY * len(side) for side in sides):
        return False
    rows = sum(
        span.right <= gutter <= following.left and abs(span.base - following.base) < 1
        for span, following in pairwise(sorted(spans, key=lambda span: span.first))
    )
    letters = min(sum(len(span.text) for span in side) / len(side) for side in sides)
    if rows > 0.6 * min(map(len, sides)) and letters < 2 * _WORDY:
        return False  # drawn row by row, as tables are
    tops = [min(span.top for span in side) for side in sides]
    bottoms = [max(span.bottom for span in side) for side in sides]
    shared = min(bottoms) - max(tops)
    return shared > 0.4 * min(bottom - top for top, bottom in zip(tops, bottoms, strict=True))


def _in_rows(spans: Sequence[PageSpan]) -> list[PageRow]:
    """Return spans from top to bottom, those on one line together."""
    rows: list[list[PageSpan]] = []
    for span in sorted(spans, key=lambda each: each.base):
        if rows and abs(span.base - rows[-1][0].base) < 0.4 * min(span.size, rows[-1][0].size):
            rows[-1].append(span)
        else:
            rows.append([span])
    return [PageRow(row) for each in rows for row in _beside(sorted(each, key=lambda span: span.left))]


def _beside(spans: list[PageSpan]) -> Iterator[list[PageSpan]]:
    """Yield the spans of a row, apart where they lie over each other."""
    begin = 0
    for at, (left, right) in enumerate(pairwise(spans), 1):
        if right.left < left.right - 0.5 * right.size:
            yield spans[begin:at]
            begin = at
    yield from [spans[begin:]] if spans[begin:] else []
