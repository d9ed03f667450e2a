"""Tables of Word: merged cells, header rows, tables for layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nexus_core import Block, Figure, Footnote, Heading, PageBreak, Paragraph, Table
from nexus_core.toolkit import Cell, TableGrid, record_text
from nexus_readers.office.header_rows import with_header
from nexus_readers.office.packages import attribute, child, name_of
from nexus_readers.office.word.styles import as_int, is_on, value

_HOLDERS = frozenset({"sdt", "sdtContent", "customXml", "ins", "moveTo"})
_WIDEST = 1_000


def read_table(table: Any, blocks_in: Callable[[Any], Iterator[Block]]) -> Iterator[Block]:
    """Yield a table, and the notes in it; a table for layout is the blocks of its cells."""
    rows = list(_named(table, "tr"))
    cells = [list(_named(row, "tc")) for row in rows]
    contents = [[list(blocks_in(cell)) for cell in row] for row in cells]
    inside = [block for row in contents for blocks in row for block in blocks]
    if max(map(len, cells), default=0) <= 1 >= len(cells) or any(isinstance(block, Heading) for block in inside):
        yield from inside
        return
    grid = TableGrid()
    above: dict[int, str] = {}
    found = []
    for row, row_cells, row_contents in zip(rows, cells, contents, strict=True):
        if not is_on(child(row, "trPr", "del")):
            found.append(grid.row(_row(row, row_cells, row_contents, above)))
    declared = sum(1 for _ in _header_rows(rows))
    header, body = with_header(found, declared=declared, looks_so=_is_bold(rows))
    links = tuple(dict.fromkeys(link for block in inside for link in getattr(block, "links", ())))
    if any(any(row) for row in (header, *body)):
        yield Table(rows=body, header=header, links=links)
    yield from (block for block in inside if isinstance(block, Footnote | PageBreak))


def _row(row: Any, cells: list[Any], contents: list[list[Block]], above: dict[int, str]) -> Iterator[Cell]:
    """Yield the cells of a row; one that continues another says what that one says."""
    column = min(as_int(value(child(row, "trPr", "gridBefore"))), _WIDEST)
    if column > 0:
        yield Cell("", columns=column)
    for cell, blocks in zip(cells, contents, strict=True):
        properties = child(cell, "tcPr")
        span = max(1, min(as_int(value(child(properties, "gridSpan")), 1), _WIDEST))
        text = flat_text(blocks)
        merged = child(properties, "vMerge")
        if merged is not None and attribute(merged, "val", "continue") == "continue":
            text = text or above.get(column, "")
        above[column] = text
        column += span
        yield Cell(text, columns=span)


def _header_rows(rows: Iterable[Any]) -> Iterator[Any]:
    for row in rows:
        if not is_on(child(row, "trPr", "tblHeader")):
            return
        yield row


def _is_bold(rows: list[Any]) -> bool:
    """Tell whether all of the first row is bold, and not all of the second."""

    def bold(row: Any) -> bool:
        runs = [run for run in row.iter("{*}r") if child(run, "t") is not None]
        return bool(runs) and all(is_on(child(run, "rPr", "b")) for run in runs)

    return len(rows) > 1 and bold(rows[0]) and not bold(rows[1])


def _named(element: Any, name: str) -> Iterator[Any]:
    """Yield the children with a name, also those that a control or a change wraps."""
    for each in element:
        found = name_of(each)
        if found == name:
            yield each
        elif found in _HOLDERS:
            yield from _named(each, name)


def flat_text(blocks: Iterable[Block]) -> str:
    """Return what some blocks say on one line, as a cell or a note has it."""
    said = []
    for block in blocks:
        if isinstance(block, Table):
            said.append("; ".join(record_text(block.header, row) for row in block.rows))
        elif isinstance(block, Figure):
            said.append(f"[Figure: {block.text}]")
        elif isinstance(block, Paragraph) or not isinstance(block, Footnote | PageBreak):
            said.append(getattr(block, "text", ""))
    return " ".join(" ".join(said).split())
