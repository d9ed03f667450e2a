"""Tables without lines: rows whose cells stand in the same columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from nexus_core import Place, Table
from nexus_core.toolkit import Cell, table_rows
from nexus_readers.pdf.hyphens import LineJoiner
from nexus_readers.pdf.order import Row
from nexus_readers.pdf.spans import Span

_CLOSE = 3.5
"""Rows of one table are not further apart, in sizes of their font."""
_LEADERS = re.compile(r"(?:\s*[.·…_]){4,}\s*")
_NUMBER = re.compile(r"[-+−(]?[$€£]?\s?\d[\d.,'  ]*\)?\s?[%‰]?|[-–—]|n/?a", re.IGNORECASE)
Column = tuple[float, float]


def has_leaders(text: str) -> bool:
    """Tell whether a line leads to a page by dots, as in a table of contents."""
    return _LEADERS.search(text) is not None


def without_leaders(text: str) -> str:
    """Return a line without the dots that lead to its end."""
    return _LEADERS.sub(" ", text).strip()


def table_end(rows: Sequence[Row], begin: int) -> int:
    """Return before which row the table ends that may begin at one; `begin` where none does."""
    end, last = begin, begin
    while end < len(rows):
        row = rows[end]
        above = rows[end - 1] if end > begin else row
        if has_leaders(row.text) or row.top - above.top > _CLOSE * row.first.size or row.top < above.top - 1:
            break
        if len(row.spans) > 1:
            last = end + 1
        elif end == begin or not _hangs(rows[last - 1], row):
            break
        end += 1
    return last if sum(len(row.spans) > 1 for row in rows[begin:last]) > 1 else begin


def _hangs(above: Row, row: Row) -> bool:
    """Tell whether a single span goes on with a cell of the row above, or stands alone in a first column."""
    if row.top - above.top > 1.6 * row.first.size * max(1, len(above.spans)):
        return False
    span = row.first
    over = [other for other in above.spans if other.left < span.right and span.left < other.right]
    return len(over) == 1 and span.left > above.left + span.size


def aligned_table(rows: Sequence[Row], page: int, joiner: LineJoiner) -> Table | None:
    """Return rows as a table, or None where their cells stand in no columns."""
    columns = _columns(rows)
    if len(columns) < 2:
        return None
    lines: list[list[list[str]]] = []
    cells: list[list[Cell]] = []
    for row in rows:
        placed = _placed(row.spans, columns)
        if placed is None:
            return None
        if lines and len(row.spans) < len(columns) and 0 not in placed and all(w == 1 for _, w in placed.values()):
            for column, (span, _) in placed.items():
                lines[-1][column].append(span.text)
            continue
        texts: list[list[str]] = [[] for _ in columns]
        for column, (span, width) in placed.items():
            for reached in range(column, column + width):
                texts[reached].append(span.text)
        lines.append(texts)
    cells = [[Cell(joiner.join(cell)) for cell in line] for line in lines]
    return table_of(list(table_rows(cells)), _is_headed(rows), _box(rows, page))


def table_of(rows: list[tuple[str, ...]], styled: bool, place: Place) -> Table:
    """Return a table of rows, the first of which may be its header."""
    headed = len(rows) > 1 and any(rows[0]) and (styled or _is_named(rows))
    return Table(header=rows[0] if headed else (), rows=tuple(rows[headed:]), place=place)


def _is_headed(rows: Sequence[Row]) -> bool:
    """Tell whether the first row is set apart by its style."""
    first = all(span.bold for span in rows[0].spans)
    return first and not all(span.bold for row in rows[1:] for span in row.spans)


def _is_named(rows: Sequence[tuple[str, ...]]) -> bool:
    """Tell whether the first row names columns of numbers."""
    if not all(cell and not _NUMBER.fullmatch(cell) for cell in rows[0][1:]) or len(set(rows[0])) < len(rows[0]):
        return False
    return any(
        sum(bool(_NUMBER.fullmatch(row[column])) for row in rows[1:] if column < len(row)) > 0.6 * (len(rows) - 1)
        for column in range(len(rows[0]))
    )


def _columns(rows: Sequence[Row]) -> list[Column]:
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


def _placed(spans: Sequence[Span], columns: Sequence[Column]) -> dict[int, tuple[Span, int]] | None:
    """Return for each column the span that begins in it, and how many it reaches over; None where two want one."""
    placed: dict[int, tuple[Span, int]] = {}
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


def _box(rows: Sequence[Row], page: int) -> Place:
    return Place(
        page=page,
        box=(
            round(min(row.left for row in rows), 1), round(min(row.top for row in rows), 1),
            round(max(row.right for row in rows), 1), round(max(row.bottom for row in rows), 1),
        ),
    )  # fmt: skip
