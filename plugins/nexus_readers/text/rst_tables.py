"""The tables of reStructuredText: grids with spans, and simple ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from nexus_core import Place, Table
from nexus_core.toolkit import Cell, table_rows
from nexus_readers.text.source_text import one_line

_GRID = re.compile(r"\+(?:[-=]+\+)+$")
_SIMPLE = re.compile(r"=+(?: +=+)+$|={4,}$")
_SPANS = re.compile(r"-+(?: +-+)*$")
_MOST_CELLS = 20_000
"""Cells of a grid beyond which spans are not looked for."""

Inline = Callable[[str], str]


def is_grid(lines: list[str], at: int) -> bool:
    """Tell whether a grid table begins here."""
    return (
        lines[at][:1] == "+"
        and at + 1 < len(lines)
        and lines[at + 1][:1] in ("|", "+")
        and bool(_GRID.match(lines[at]))
    )


def is_simple(lines: list[str], at: int) -> bool:
    """Tell whether a simple table begins here: a line of `==== ====`, and another one below."""
    if lines[at][:1] != "=" or " " not in lines[at] or not _SIMPLE.match(lines[at]):
        return False
    return at + 1 < len(lines) and bool(lines[at + 1])


def grid_table(lines: list[str], at: int, inline: Inline, place: Place) -> tuple[Table, int]:
    """Return the table that begins at a line, and the line after it."""
    last = at
    while last < len(lines) and lines[last][:1] in ("+", "|") and lines[last]:
        last += 1
    grid = lines[at:last]
    edges = sorted({column for line in grid if line[:1] == "+" for column, sign in enumerate(line) if sign == "+"})
    head = next((number for number, line in enumerate(grid) if "=" in line and _GRID.match(line)), 0)
    rows: list[list[Cell]] = []
    headed = 0
    for begin, row in _grid_rows(grid, edges):
        rows.append([Cell(inline(cell.text), cell.columns, cell.rows) for cell in row])
        headed += begin < head
    plain = list(table_rows(rows))
    header = tuple(one_line(dict.fromkeys(cells)) for cells in zip(*plain[:headed], strict=False)) if headed else ()
    return Table(header=header, rows=tuple(plain[headed:]), place=place), last


def _grid_rows(grid: list[str], edges: list[int]) -> Iterator[tuple[int, list[Cell]]]:
    """Yield where each row begins, and its cells."""
    borders = [number for number, line in enumerate(grid) if line[:1] == "+" or "+-" in line or "-+" in line]
    index = {border: number for number, border in enumerate(borders)}
    plain = len(borders) * len(edges) > _MOST_CELLS
    for top, below in pairwise(borders):
        if below == top + 1:
            continue
        cells = []
        column = 0
        while column < len(edges) - 1:
            left = edges[column]
            if not plain and not _is_border(grid[top], left):
                column += 1
                continue  # a cell of the row above reaches into this one
            right = column + 1
            while right < len(edges) - 1 and not _ends_at(grid[top + 1], edges[right]):
                right += 1
            bottom = below
            while not plain and bottom < len(grid) - 1 and not _is_border(grid[bottom], left):
                bottom = borders[index[bottom] + 1] if index[bottom] + 1 < len(borders) else len(grid) - 1
            text = one_line(line[left + 1 : edges[right]] for line in grid[top + 1 : bottom])
            high = index.get(bottom, len(borders) - 1) - index[top]
            cells.append(Cell(text, right - column, max(1, high)))
            column = right
        yield top, cells


def _is_border(line: str, left: int) -> bool:
    return line[left + 1 : left + 2] in ("-", "=")


def _ends_at(line: str, column: int) -> bool:
    return line[column : column + 1] in ("|", "+")


def simple_table(lines: list[str], at: int, inline: Inline, place: Place) -> tuple[Table, int]:
    """Return the table that begins at a line, and the line after it."""
    spans = [(found.start(), found.end()) for found in re.finditer("=+", lines[at])]
    rules = [at]
    last = at + 1
    while last < len(lines) and len(rules) < 3:
        line = lines[last]
        if line[:1] == "=" and _SIMPLE.match(line):
            rules.append(last)
            below = lines[last + 1] if last + 1 < len(lines) else ""
            if not below or len(rules) == 3:
                break
        last += 1
    headed = len(rules) == 3
    rows = list(_simple_rows(lines, rules[0] + 1, last, spans, inline))
    border = rules[1] if headed else -1
    head = [row for number, row in rows if number < border]
    header = tuple(one_line(cells) for cells in zip(*head, strict=True)) if head else ()
    return Table(header=header, rows=tuple(row for number, row in rows if number >= border), place=place), last + 1


def _simple_rows(
    lines: list[str], first: int, last: int, spans: list[tuple[int, int]], inline: Inline
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield where each row begins, and its cells; a line whose first cell is empty goes on with the row above."""
    held: list[list[str]] = []
    begin = first
    for number in range(first, min(last + 1, len(lines))):
        line = lines[number]
        is_rule = bool(line) and (_SIMPLE.match(line) or _SPANS.match(line))
        cells = [] if is_rule or not line else _cut(line, spans)
        if held and (is_rule or not line or cells[0]):
            yield begin, tuple(inline(one_line(cell)) for cell in held)
            held = []
        if cells and not held:
            begin, held = number, [[cell] for cell in cells]
        elif cells:
            for cell, more in zip(held, cells, strict=True):
                cell.append(more)
    if held:
        yield begin, tuple(inline(one_line(cell)) for cell in held)


def _cut(line: str, spans: list[tuple[int, int]]) -> list[str]:
    ends = [begin for begin, _ in spans[1:]] + [len(line)]
    return [line[begin:end].strip() for (begin, _), end in zip(spans, ends, strict=True)]
