"""Tables without lines: rows whose cells stand in the same columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from nexus_core import Place, Table
from nexus_core.toolkit import Cell, table_rows
from nexus_readers.pdf.hyphens import LineJoiner
from nexus_readers.pdf.order import PageRow
from nexus_readers.pdf.spans import PageSpan

_CLOSE = 3.5
"""Rows of one table are not further apart, in sizes of their font."""
_LEADERS = re.compile(r"(?:\s*[.·…_]){4,}\s*")
_NUMBER = re.compile(r"[-+−(]?[$€£]?\s?\d[\d.,'  ]*\)?\s?[%‰]?|[-–—]|n/?a", re.IGNORECASE)
Column = tuple[float, float]


def has_leaders(text: str) -> bool:
    """Tell whether a line leads to a page by dots, as in a table of contents."""
    return (".." in text or ". ." in text or "\u2026" in text or "\u00b7" in text or "__" in text) and bool(
        _LEADERS.search(text)
    )


def without_leaders(text: str) -> str:
    """Return a line without the dots that lead to its end."""
    return _LEADERS.sub(" ", text).strip() if has_leaders(text) else text


def table_end(rows: Sequence[PageRow], begin: int) -> int:
    """Return before which row the table ends that may begin at one; `begin` where none does."""
    end, last = begin, begin
    while end < len(rows):
        row = rows[end]
        above = rows[end - 1] if end > begin else row
        if has_leaders(row.text) or row.top - above.top > _CLOSE * row.first.size or row.top < above.top - 1:
            break
        if len(row.spans) > 1:
            last = end + 1
        elif end == begin or not (_hangs(rows[last - 1], row) or _stands_between(rows, last - 1, end)):
            break
        end += 1
    return last if sum(len(row.spans) > 1 for row in rows[begin:last]) > 1 else begin


def _hangs(above: PageRow, row: PageRow) -> bool:
    """Tell whether a single span goes on with a cell of the row above, or stands alone in a first column."""
    if row.top - above.top > 1.6 * row.first.size * max(1, len(above.spans)):
        return False
    span = row.first
    if row.top - above.bottom < 0.35 * span.size and len(above.spans) > 1:  # as close as lines of one cell
        return sum(other.left < span.right and span.left < other.right for other in above.spans) == 1
    over = [other for other in above.spans if other.left < span.right and span.left < other.right]
    return len(over) == 1 and span.left > above.left + span.size


def _stands_between(rows: Sequence[PageRow], last: int, at: int) -> bool:
    """Tell whether a single span is the first cell of a row whose others are empty: more rows of the table follow."""
    above, row = rows[last], rows[at]
    if at + 1 >= len(rows) or at > last + 1 or len(above.spans) < 2:
        return False
    below = rows[at + 1]
    return (
        abs(row.left - above.left) < 2
        and row.right < above.spans[1].left
        and len(below.spans) == len(above.spans)
        and all(abs(one.left - other.left) < 2 for one, other in zip(above.spans, below.spans, strict=True))
        and below.top - row.top < _CLOSE * row.first.size
    )


def aligned_table(rows: Sequence[PageRow], page: int, joiner: LineJoiner) -> Table | None:
    """Return rows as a table, or None where their cells stand in no columns."""
    columns = _columns(rows)
    if len(columns) < 2:
        return None
    lines: list[list[list[str]]] = []
    closest = _closest(rows)
    heads = 1
    for number, row in enumerate(rows):
        placed = _placed(row.spans, columns)
        if placed is None:
            return None
        plain = all(width == 1 for _, width in placed.values())
        goes_on = (
            row.top - rows[number - 1].top <= closest if closest else len(placed) < len(columns) and 0 not in placed
        )
        if lines and goes_on and plain:
            heads += len(lines) == 1
            for column, (span, _) in placed.items():
                lines[-1][column].append(span.text)
            continue
        texts: list[list[str]] = [[] for _ in columns]
        for column, (span, width) in placed.items():
            for reached in range(column, column + width):
                texts[reached].append(span.text)
        lines.append(texts)
    cells = [[Cell(joiner.join(cell)) for cell in line] for line in lines]
    return table_of(list(table_rows(cells)), _is_headed(rows, heads), _box(rows, page))


def table_of(rows: list[tuple[str, ...]], styled: bool, place: Place) -> Table:
    """Return a table of rows, the first of which may be its header."""
    headed = len(rows) > 1 and any(rows[0]) and (styled or _is_named(rows))
    return Table(header=rows[0] if headed else (), rows=tuple(rows[headed:]), place=place)


def _closest(rows: Sequence[PageRow]) -> float:
    """Return how far lines of one cell are from each other, where those of two rows are further apart; else 0."""
    steps = [row.top - above.top for above, row in pairwise(rows)]
    close = [step for step in steps if step <= 1.35 * rows[0].first.size]
    apart = [step for step in steps if step > 1.35 * rows[0].first.size]
    return max(close) if close and apart and min(apart) > 1.2 * max(close) else 0.0


def _is_headed(rows: Sequence[PageRow], lines: int) -> bool:
    """Tell whether the first row, which has some lines, is set apart by its style."""
    first = all(span.bold for row in rows[:lines] for span in row.spans)
    return first and not all(span.bold for row in rows[lines:] for span in row.spans)


def _is_named(rows: Sequence[tuple[str, ...]]) -> bool:
    """Tell whether the first row names columns of numbers."""
    if not all(cell and not _NUMBER.fullmatch(cell) for cell in rows[0][1:]) or len(set(rows[0])) < len(rows[0]):
        return False
    return any(
        sum(bool(_NUMBER.fullmatch(row[column])) for row in rows[1:] if column < len(row)) > 0.6 * (len(rows) - 1)
        for column in range(len(rows[0]))
    )


def _columns(rows: Sequence[PageRow]) -> list[Column]:
    """Return the columns of rows, by those that have most often as many cells as each other."""
    counts = Counter(len(row.spans) for row in rows if len(row.spans) > 1)
    if not counts:
        return []
    usual = max(counts, key=lambda cells: (counts[cells] * cells, cells))
    spans = sorted((span for row in rows if len(row.spans) == usual for span in row.spans), key=lambda span: span.left)
    columns: list[Column] = []
    for span in spans:
        if columns and span.left < columns[-1][1] + 2:
            columns[-1] = (columns[-1][0], max(columns[-1][1], span.right))
        else:
            columns.append((span.left, span.right))
    return columns if len(columns) >= usual else []


def _placed(spans: Sequence[PageSpan], columns: Sequence[Column]) -> dict[int, tuple[PageSpan, int]] | None:
    """Return for each column the span that begins in it, and how many it reaches over; None where two want one."""
    placed: dict[int, tuple[PageSpan, int]] = {}
    reached = -1
    for span in spans:
        over = [
            number
            for number, (left, right) in enumerate(columns)
            if min(right, span.right) - max(left, span.left)
            > 0.3 * min(right - left, span.right - span.left, span.size)
        ]
        if not over:
            middle = (span.left + span.right) / 2
            over = [min(range(len(columns)), key=lambda each: abs(sum(columns[each]) / 2 - middle))]
        begin = max(over[0], reached + 1)
        if begin > over[-1]:
            return None
        placed[begin] = (span, over[-1] - begin + 1)
        reached = over[-1]
    return placed


def _box(rows: Sequence[PageRow], page: int) -> Place:
    return Place(
        page=page,
        box=(
            round(min(row.left for row in rows), 1), round(min(row.top for row in rows), 1),
            round(max(row.right for row in rows), 1), round(max(row.bottom for row in rows), 1),
        ),
    )  # fmt: skip
