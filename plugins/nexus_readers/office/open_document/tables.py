"""Tables of OpenDocument texts and slides: cells that reach over others, header rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from nexus_core import Block, Footnote, Heading, PageBreak, Table
from nexus_core.toolkit import Cell, TableGrid
from nexus_readers.office.header_rows import with_header
from nexus_readers.office.packages import attribute, name_of
from nexus_readers.office.word.styles import as_int
from nexus_readers.office.word.tables import flat_text

_MOST_REPEATED = 100
"""Times that a row or cell of a text is repeated; sheets are read elsewhere."""


def open_table(table: Any, blocks_in: Callable[[Any], Iterator[Block]]) -> Iterator[Block]:
    """Yield a table, and the notes in it; a table for layout is the blocks of its cells."""
    grid = TableGrid()
    rows: list[tuple[str, ...]] = []
    inside: list[Block] = []
    declared = count = widest = 0
    for row, is_header in _rows(table):
        cells, blocks = _cells(row, blocks_in)
        inside += blocks
        count += 1
        widest = max(widest, len(cells))
        declared += is_header and declared == len(rows)
        rows.append(grid.row(cells))
    if (count <= 1 and widest <= 1) or any(isinstance(block, Heading) for block in inside):
        yield from inside
        return
    header, body = with_header(rows, declared=declared)
    links = tuple(dict.fromkeys(link for block in inside for link in getattr(block, "links", ())))
    if any(any(row) for row in (header, *body)):
        yield Table(rows=body, header=header, links=links)
    yield from (block for block in inside if isinstance(block, Footnote | PageBreak))


def _rows(element: Any, is_header: bool = False) -> Iterator[tuple[Any, bool]]:
    for each in element:
        name = name_of(each)
        if name == "table-row":
            for _ in range(min(max(1, as_int(attribute(each, "number-rows-repeated", "1"), 1)), _MOST_REPEATED)):
                yield each, is_header
        elif name in ("table-header-rows", "table-rows", "table-row-group"):
            yield from _rows(each, is_header or name == "table-header-rows")


def _cells(row: Any, blocks_in: Callable[[Any], Iterator[Block]]) -> tuple[list[Cell], list[Block]]:
    cells: list[Cell] = []
    inside: list[Block] = []
    for each in row:
        if name_of(each) != "table-cell":
            continue
        blocks = list(blocks_in(each))
        inside += blocks
        columns, rows = (max(1, as_int(attribute(each, name, "1"), 1))
                         for name in ("number-columns-spanned", "number-rows-spanned"))  # fmt: skip
        repeated = min(max(1, as_int(attribute(each, "number-columns-repeated", "1"), 1)), _MOST_REPEATED)
        cells += [Cell(flat_text(blocks), columns=columns, rows=rows)] * repeated
    return cells, inside
