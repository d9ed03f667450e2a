"""Tables with lines around their cells: what the file draws as lines, and the texts between them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from ctypes import byref, c_float
from typing import Any

from attrs import define, field, frozen

from nexus_core import Place
from nexus_readers.pdf.aligned import table_of
from nexus_readers.pdf.hyphens import LineJoiner
from nexus_readers.pdf.spans import PageFrame, PageSpan

_PATH = 2
"""What pdfium calls an object of lines and areas."""
_MOST_OBJECTS = 20_000
_MOST_POINTS = 6_000
"""Of a page: drawings have more, and tables fewer."""
_MOST_LINES = 300
_MOST_CELLS = 20_000
_NEAR = 2.5
_SHORTEST = 6.0


@frozen(eq=False)
class Ruling:
    """A level or upright line."""

    at: float
    """Its height on the page, or how far from the left it is."""
    begin: float
    end: float


@define(eq=False)
class Grid:
    """Level and upright lines that cross each other."""

    levels: list[Ruling]
    uprights: list[Ruling]
    ys: list[float] = field(factory=list)
    xs: list[float] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.ys, self.xs = _places(self.levels), _places(self.uprights)

    @property
    def is_table(self) -> bool:
        """Whether it has cells beside each other."""
        columns, rows = len(self.xs) - 1, len(self.ys) - 1
        return columns >= 2 and rows >= 1 and columns * rows <= _MOST_CELLS

    def cell(self, span: PageSpan) -> tuple[int, int] | None:
        """Return in which row and column a span stands; None if outside."""
        row = bisect_right(self.ys, span.base - 0.25 * span.size) - 1
        column = bisect_right(self.xs, (span.left + min(span.right, span.left + 4 * span.size)) / 2) - 1
        inside = 0 <= row < len(self.ys) - 1 and 0 <= column < len(self.xs) - 1
        return (row, column) if inside else None

    def owners(self) -> list[int]:
        """Return for each cell, row by row, the number of the cell that it is one with: nothing is drawn between."""
        width, height = len(self.xs) - 1, len(self.ys) - 1
        owners = list(range(width * height))
        uprights, levels = _by_place(self.uprights, self.xs), _by_place(self.levels, self.ys)
        for row in range(height):
            for column in range(width):
                number = row * width + column
                if column and not _covers(uprights[column], (self.ys[row] + self.ys[row + 1]) / 2):
                    owners[number] = owners[number - 1]
                elif row and not _covers(levels[row], (self.xs[column] + self.xs[column + 1]) / 2):
                    owners[number] = owners[number - width]
        return owners


def grids_of(raw: Any, page: Any, frame: PageFrame) -> list[Grid]:
    """Return the grids that are drawn on a page."""
    levels: list[Ruling] = []
    uprights: list[Ruling] = []
    for begin, end in _segments(raw, page, frame):
        wide, high = abs(begin[0] - end[0]), abs(begin[1] - end[1])
        if high < 1.5 and wide > _SHORTEST:
            levels.append(Ruling((begin[1] + end[1]) / 2, *sorted((begin[0], end[0]))))
        elif wide < 1.5 and high > _SHORTEST:
            uprights.append(Ruling((begin[0] + end[0]) / 2, *sorted((begin[1], end[1]))))
    levels, uprights = (_merged(lines) if lines else [] for lines in (levels, uprights))
    if not (2 <= len(levels) <= _MOST_LINES and 3 <= len(uprights) <= _MOST_LINES):
        return []
    return [grid for grid in _connected(levels, uprights) if grid.is_table]


def ruled_table(grid: Grid, spans: Iterable[PageSpan], page: int, joiner: LineJoiner) -> PageSpan:
    """Return a span that holds the table of a grid."""
    width, height = len(grid.xs) - 1, len(grid.ys) - 1
    owners = grid.owners()
    held: dict[int, list[PageSpan]] = {}
    for span in spans:
        place = grid.cell(span)
        if place is not None:
            held.setdefault(owners[place[0] * width + place[1]], []).append(span)
    texts = {owner: joiner.join(span.text for span in _read(inside)) for owner, inside in held.items()}
    rows = [tuple(texts.get(owners[row * width + column], "") for column in range(width)) for row in range(height)]
    first = [span for column in range(width) for span in held.get(owners[column], ())]
    others = [span for owner, inside in held.items() for span in inside if owner >= width]
    styled = bool(first) and all(span.bold for span in first) and not all(span.bold for span in others)
    left, top, right, bottom = grid.xs[0], grid.ys[0], grid.xs[-1], grid.ys[-1]
    where = Place(page=page, box=(round(left, 1), round(top, 1), round(right, 1), round(bottom, 1)))
    table = table_of([row for row in rows if any(row)], styled, where)
    size = first[0].size if first else 10.0
    return PageSpan("\u2007", left, top, right, top + size, size, table=table)


def _read(spans: Sequence[PageSpan]) -> list[PageSpan]:
    """Return the spans of a cell in reading order."""
    return sorted(spans, key=lambda span: (round(span.base / (0.5 * span.size)), span.left))


def _segments(raw: Any, page: Any, frame: PageFrame) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Yield the straight lines of a page; an area that is as thin as a line is one."""
    left = _MOST_POINTS
    matrix = raw.FS_MATRIX()
    bounds = [c_float() for _ in range(4)]
    for number in range(min(raw.FPDFPage_CountObjects(page), _MOST_OBJECTS)):
        shape = raw.FPDFPage_GetObject(page, number)
        if raw.FPDFPageObj_GetType(shape) != _PATH:
            continue
        raw.FPDFPageObj_GetBounds(shape, *map(byref, bounds))
        x0, y0, x1, y1 = (each.value for each in bounds)
        x0, y0, x1, y1 = x0 - frame.left, frame.top - y0, x1 - frame.left, frame.top - y1
        if x1 - x0 < _NEAR or y0 - y1 < _NEAR:
            yield (
                ((x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2))
                if y0 - y1 < _NEAR
                else (((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1))
            )
            continue
        left -= (count := raw.FPDFPath_CountSegments(shape))
        if left < 0:
            return
        raw.FPDFPageObj_GetMatrix(shape, byref(matrix))
        yield from _path(raw, shape, count, matrix, frame)


def _path(
    raw: Any, shape: Any, count: int, matrix: Any, frame: PageFrame
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    x, y = c_float(), c_float()
    start = before = (0.0, 0.0)
    for number in range(count):
        segment = raw.FPDFPath_GetPathSegment(shape, number)
        raw.FPDFPathSegment_GetPoint(segment, byref(x), byref(y))
        point = (
            matrix.a * x.value + matrix.c * y.value + matrix.e - frame.left,
            frame.top - (matrix.b * x.value + matrix.d * y.value + matrix.f),
        )
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            start = point
        elif kind == raw.FPDF_SEGMENT_LINETO:
            yield before, point
        if raw.FPDFPathSegment_GetClose(segment):
            yield point, start
        before = point


def _merged(lines: list[Ruling]) -> list[Ruling]:
    """Return lines with those in one that go on with each other."""
    merged: list[Ruling] = []
    lines.sort(key=lambda line: line.at)
    begin = 0
    for end in range(1, len(lines) + 1):
        if end < len(lines) and lines[end].at - lines[end - 1].at < 1.0 and lines[end].at - lines[begin].at < 2.0:
            continue
        level = sorted(lines[begin:end], key=lambda line: line.begin)
        held = level[0]
        for line in level[1:]:
            if line.begin < held.end + _NEAR:
                held = Ruling(held.at, held.begin, max(held.end, line.end))
            else:
                merged.append(held)
                held = line
        merged.append(held)
        begin = end
    return merged


def _connected(levels: list[Ruling], uprights: list[Ruling]) -> Iterator[Grid]:
    """Yield lines together that cross each other."""
    waiting = set(range(len(uprights)))
    left = set(range(len(levels)))
    while waiting:
        seen_up, seen_level, queue = [waiting.pop()], list[int](), [(True, 0)]
        while queue:
            upright, number = queue.pop()
            if upright:
                line = uprights[seen_up[number]]
                new = [each for each in left if _cross(levels[each], line)]
                left.difference_update(new)
                queue += [(False, len(seen_level) + place) for place in range(len(new))]
                seen_level += new
            else:
                line = levels[seen_level[number]]
                new = [each for each in waiting if _cross(line, uprights[each])]
                waiting.difference_update(new)
                queue += [(True, len(seen_up) + place) for place in range(len(new))]
                seen_up += new
        if len(seen_level) > 1 and len(seen_up) > 2:
            yield Grid([levels[each] for each in seen_level], [uprights[each] for each in seen_up])


def _cross(level: Ruling, upright: Ruling) -> bool:
    return (
        level.begin - _NEAR <= upright.at <= level.end + _NEAR
        and upright.begin - _NEAR <= level.at <= upright.end + _NEAR
    )


def _places(lines: Iterable[Ruling]) -> list[float]:
    places: list[float] = []
    for at in sorted(line.at for line in lines):
        if not places or at - places[-1] > _NEAR:
            places.append(at)
    return places


def _by_place(lines: Iterable[Ruling], places: Sequence[float]) -> list[list[Ruling]]:
    found: list[list[Ruling]] = [[] for _ in places]
    for line in lines:
        found[max(0, bisect_right(places, line.at + 0.01) - 1)].append(line)
    return found


def _covers(lines: Iterable[Ruling], place: float) -> bool:
    return any(line.begin - 1 <= place <= line.end + 1 for line in lines)
