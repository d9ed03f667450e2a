"""The tables of AsciiDoc: cells by bars, or lines of CSV; spans, a header, columns by their number."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence

from nexus_core.toolkit import Cell, table_rows
from nexus_readers.text.source_text import one_line

_BAR = re.compile(
    r"(?:(?<=\s)|^|(?<=\|))(?:(\d{1,4})?(?:\.(\d{1,4}))?\+)?(?:(\d{1,3})\*)?(?:[<^>]?(?:\.[<^>])?[aehlmsdv]?)\|"
)
_COLUMNS = re.compile(r"cols\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^,\s\]]+))")
_TIMES = re.compile(r"(\d{1,3})\*")
_MOST_COLUMNS = 500


def table_of(
    lines: list[str], style: str, kind: str, inline: Callable[[str], str]
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Return the rows and the header of a table between its delimiters, with what stands in brackets before it."""
    while lines and not lines[0]:
        lines = lines[1:]
    headed = "%header" in style or bool(re.search(r"options\s*=\s*\"?[^\"]*header", style))
    headed = headed or (len(lines) > 1 and not lines[1] and bool(lines[0]) and "%noheader" not in style)
    if kind in ",:" or re.search(r"format\s*=\s*\"?(?:csv|dsv)", style):
        separator = ":" if kind == ":" or "dsv" in style else ","
        read = csv.reader([line for line in lines if line], delimiter=separator, skipinitialspace=True)
        rows = [tuple(inline(one_line([cell])) for cell in row) for row in read]
    else:
        cells = list(_cells([line.replace("!", "|") if kind == "!" else line for line in lines]))
        width = _columns(style) or _first_row(lines, kind)
        rows = list(table_rows(_in_rows(cells, width, inline)))
    width = max(map(len, rows), default=0)
    full = [tuple(row) + ("",) * (width - len(row)) for row in rows]
    return (tuple(full[1:]), full[0]) if headed and full else (tuple(full), ())


def _cells(lines: Sequence[str]) -> Iterator[Cell]:
    """Yield the cells as they are written."""
    text = "\n".join(lines).replace("\\|", "\ue000")
    bounds = list(_BAR.finditer(text))
    for number, found in enumerate(bounds):
        end = bounds[number + 1].start() if number + 1 < len(bounds) else len(text)
        cell = Cell(text[found.end() : end].replace("\ue000", "|"), int(found[1] or 1), int(found[2] or 1))
        yield from [cell] * int(found[3] or 1)


def _columns(style: str) -> int:
    found = _COLUMNS.search(style)
    if found is None:
        return 0
    written = next(filter(None, found.groups()), "")
    return min(
        _MOST_COLUMNS, sum(int(times[1]) if (times := _TIMES.match(part.strip())) else 1 for part in written.split(","))
    )


def _first_row(lines: list[str], kind: str) -> int:
    """Return how many columns the first line with cells has."""
    for line in lines:
        cells = list(_cells([line.replace("!", "|") if kind == "!" else line]))
        if cells:
            return min(_MOST_COLUMNS, sum(cell.columns for cell in cells))
    return 1


def _in_rows(cells: list[Cell], width: int, inline: Callable[[str], str]) -> Iterator[list[Cell]]:
    """Yield the cells row by row: a row is full with as many cells, or parts of those above, as there are columns."""
    row: list[Cell] = []
    filled = 0
    carried: dict[int, int] = {}
    at = 0
    for cell in cells:
        row.append(Cell(inline(one_line([cell.text])), cell.columns, cell.rows))
        filled += min(cell.columns, width)
        for below in range(1, min(cell.rows, 1000)):
            carried[at + below] = carried.get(at + below, 0) + cell.columns
        if filled >= width - carried.get(at, 0):
            yield row
            row, filled, at = [], 0, at + 1
    if row:
        yield row
