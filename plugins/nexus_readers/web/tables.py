"""Tables of a page: cells are read as blocks; at the end they become a table, or stay as they are for layout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, field

from nexus_core import (
    Block,
    Code,
    Figure,
    Formula,
    Heading,
    ListItem,
    Paragraph,
    Place,
    Quotation,
    Table,
)
from nexus_core.toolkit import Cell, TableGrid
from nexus_readers.web.inline import code_span

MOST_NESTED = 6
"""Tables in each other; the cells of deeper ones are paragraphs."""
_LONG_CELL = 300
"""Characters of a cell in a table of one row that is there for the look of the page."""
_MOST_SPAN = 100_000


@define(eq=False)
class TableCell:
    """A cell: which of the blocks that were read are its own, or its text where nothing else is in it."""

    header: bool
    scope: str
    columns: int
    rows: int
    begin: int
    end: int = 0
    text: str = ""


@define(eq=False)
class _Row:
    group: str
    cells: list[TableCell] = field(factory=list)


@define(eq=False)
class TableBuilder:
    """Collects one table while its cells are read."""

    begin: int
    """How many blocks there were before."""
    presentation: bool = False
    caption: str = ""
    place: Place | None = None
    """Of its first cell, where nothing but words stands in that."""
    has_plain_cells: bool = False
    """Some cells have a text and no blocks."""
    _rows: list[_Row] = field(factory=list)
    _group: str = "tbody"
    _groups: int = 0

    def begin_group(self, tag: str) -> None:
        """Begin a `thead`, `tbody` or `tfoot`."""
        self._groups += 1
        self._group = f"{tag} {self._groups}"

    def begin_row(self) -> None:
        """Begin a row."""
        self._rows.append(_Row(self._group))

    def add(self, cell: TableCell) -> None:
        """Add a cell to the row that was begun last."""
        if not self._rows:
            self.begin_row()
        self._rows[-1].cells.append(cell)

    def block(self, blocks: Sequence[Block], place: Place) -> Table | None:
        """Return the table, given all blocks that were read so far; None if it is there for layout."""
        self._rows = [row for row in self._rows if row.cells]
        if not self._rows or self._is_layout(blocks):
            return None
        for row in self._rows:
            for cell in row.cells:
                if cell.end > cell.begin:
                    cell.text = cell_text(blocks[cell.begin : cell.end])
        # A foot may stand before the body in the file, but never on the page.
        self._rows.sort(key=lambda row: row.group.startswith("tfoot"))
        heads = self._header_rows()
        rows = self._resolved(self._rows)
        width = max(map(len, rows), default=0)
        rows = [(*row, *[""] * (width - len(row))) for row in rows]
        header, caption = self._header(rows[:heads], heads)
        body = tuple(row for row in rows[heads:] if any(row))
        if not body and not any(header):
            return Table(rows=(), caption=caption, place=place) if caption else None
        links = tuple(link for block in blocks[self.begin :] for link in getattr(block, "links", ()))
        return Table(rows=body, header=header, caption=caption, links=links, place=place)

    def _is_layout(self, blocks: Sequence[Block]) -> bool:
        if self.presentation:
            return True
        cells = [cell for row in self._rows for cell in row.cells]
        if (
            self.caption
            or any(cell.header for cell in cells)
            or any(row.group.startswith("thead") for row in self._rows)
        ):
            return False
        if all(len(row.cells) == 1 for row in self._rows):
            return True
        held = [blocks[cell.begin : cell.end] for cell in cells]
        if any(isinstance(block, Heading | Table | Code) for inside in held for block in inside):
            return True
        if len(self._rows) > 1:
            return False
        long = any(len(cell.text) > _LONG_CELL for cell in cells)
        return long or any(len(inside) > 1 or len(cell_text(inside)) > _LONG_CELL for inside in held)

    def layout(self, blocks: list[Block]) -> list[Block]:
        """Return the blocks of a table that is there for layout, cell by cell."""
        found: list[Block] = []
        last = self.begin
        for cell in (cell for row in self._rows for cell in row.cells):
            found += blocks[last : cell.begin]
            if cell.text and cell.begin == cell.end:
                found.append(Paragraph(text=cell.text, place=self.place or Place()))
            found += blocks[cell.begin : cell.end]
            last = cell.end
        return found + blocks[last:]

    def _header_rows(self) -> int:
        """Return how many of the first rows name the columns."""
        heads = 0
        for row in self._rows:
            if row.group.startswith("thead"):
                heads += 1
            else:
                break
        if heads:
            return heads
        for row in self._rows[:-1]:
            named = [cell for cell in row.cells if cell.header and cell.scope not in ("row", "rowgroup")]
            others = [cell for cell in row.cells if not cell.header]
            # The corner over the names of the rows is often an empty, plain cell.
            if not named or len(others) > 1 or any(cell.text for cell in others):
                break
            heads += 1
        return 1 if heads and heads == len(self._rows) - 1 and all(c.header for c in self._rows[-1].cells) else heads

    def _resolved(self, rows: Iterable[_Row]) -> list[tuple[str, ...]]:
        """Return rows without spans; no cell reaches into the next group."""
        grid, group, found = TableGrid(), "", []
        for row in rows:
            if row.group != group:
                grid.end_group()
                group = row.group
            found.append(grid.row(Cell(c.text, columns=c.columns, rows=c.rows) for c in row.cells))
        return found

    def _header(self, rows: list[tuple[str, ...]], heads: int) -> tuple[tuple[str, ...], str]:
        """Return the names of the columns, joined of several rows, and the caption."""
        caption = self.caption
        if heads and len(self._rows[0].cells) == 1 and len(set(rows[0])) == 1 and len(rows[0]) > 1:
            # One cell over all columns names the table.
            if not caption:
                caption, rows = rows[0][0], rows[1:]
            elif caption == rows[0][0]:
                rows = rows[1:]
        columns = zip(*rows, strict=True)
        return tuple(" ".join(dict.fromkeys(filter(None, names))) for names in columns), caption


def span(written: str | None, least: int) -> int:
    """Return how many columns or rows a cell asks for."""
    if not written:
        return 1
    digits = written.strip()[:9]
    return min(max(int(digits), least), _MOST_SPAN) if digits.isascii() and digits.isdigit() else 1


def cell_text(blocks: Iterable[Block]) -> str:
    """Return blocks on one line."""
    found = ""
    for block in blocks:
        text = _line(block)
        if text:
            listed = isinstance(block, ListItem | Table)
            found += ("; " if listed and found.strip() else " " if found else "") + text
    return found


def _line(block: Block) -> str:
    if isinstance(block, Table):
        rows = [" ".join(filter(None, row)) for row in (block.header, *block.rows)]
        return "; ".join(filter(None, [block.caption, *rows]))
    if isinstance(block, Code):
        lines = " ".join(block.text.split())
        return code_span(lines) if lines else ""
    if isinstance(block, Formula):
        return f"${block.text}$" if block.notation == "tex" else block.text
    if isinstance(block, Figure):
        return " ".join(filter(None, (block.text, block.caption)))
    if isinstance(block, Heading | Paragraph | ListItem | Quotation):
        return block.text.replace("\n", " ")
    return ""
