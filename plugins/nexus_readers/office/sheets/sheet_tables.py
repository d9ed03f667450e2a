"""Rows of a sheet into tables: one for each region that is surrounded by empty cells, in pieces as the rows come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from attrs import define, field, frozen

from nexus_core import Block, Paragraph, Place, Table
from nexus_readers.office.header_rows import has_numbers_below, is_number, names_columns

AHEAD = 1_000
"""Rows of a region by which its columns and its header are told."""
PIECE = 500
"""Rows of one `Table`; a longer one comes in several, each with the header."""
_WIDE = 64
"""Columns up to which each row is filled up with empty cells."""
_SPARSE = 20
"""A region with more than so many empty cells for each that says something is no table."""
_MOST_CAPTIONS = 5
_EVERYWHERE = (0, 1 << 20)


@frozen
class SheetRow:
    """A row of a sheet with something in it."""

    number: int
    """From 1, as the sheet counts."""
    cells: Mapping[int, str]
    """What cells say by their columns, from 0; empty ones are not there."""
    looks: Mapping[int, str] = field(factory=dict)
    """By columns, how cells are formatted: by it a header is told from the rows below."""
    has_spans: bool = False
    """One of its cells is several columns wide."""
    is_header: bool = False
    """The file says that it names the columns."""


def sheet_blocks(rows: Iterable[SheetRow]) -> Iterator[Block]:
    """Yield the regions of a sheet, whose rows come in their order; a row that is left out ends no region."""
    headers = _Headers()
    band: list[SheetRow] = []
    regions: list[_Region] = []
    last = 0
    for row in rows:
        if (band or regions) and row.number != last + 1:
            yield from _ended(band, regions, headers)
            band, regions = [], []
        last = row.number
        if not row.cells and not band and not regions:
            continue
        if regions:
            for region in regions:
                yield from region.take(row)
            continue
        band.append(row)
        if len(band) == AHEAD:
            regions = _regions(band, headers)
            yield from chain.from_iterable(region.begin() for region in regions)
            band = []
    yield from _ended(band, regions, headers)


def _ended(band: list[SheetRow], regions: list[_Region], headers: _Headers) -> Iterator[Block]:
    for region in regions:
        yield from region.end()
    if band:
        for region in _regions(band, headers):
            yield from region.begin()
            yield from region.end()


@define(eq=False)
class _Headers:
    """The headers of regions before, by the columns that they are over."""

    known: dict[tuple[int, ...], tuple[str, ...]] = field(factory=dict)

    def over(self, columns: tuple[int, ...]) -> tuple[str, ...]:
        """Return the header of a region above with the same columns."""
        return self.known.get(columns, ())


def _regions(band: Sequence[SheetRow], headers: _Headers) -> list[_Region]:
    """Return the regions beside each other in a band of rows."""
    used = sorted({column for row in band for column in row.cells})
    groups: list[list[int]] = []
    for column in used:
        if groups and column == groups[-1][-1] + 1:
            groups[-1].append(column)
        else:
            groups.append([column])
    # A narrow one beside an empty column belongs to what stands before: the empty column is for looks.
    joined: list[list[int]] = []
    for group in groups:
        if joined and (len(group) < 2 or len(joined[-1]) < 2):
            joined[-1] += group
        else:
            joined.append(group)
    lefts = [group[0] for group in joined[1:]] + [_EVERYWHERE[1]]
    begin = 0
    found = []
    for group, right in zip(joined, lefts, strict=True):
        found.append(_Region(tuple(group), (begin, right), list(band), headers))
        begin = right
    return found


@define(eq=False)
class _Region:
    """A table while its rows come."""

    columns: tuple[int, ...]
    reach: tuple[int, int]
    """The columns whose cells belong to it, should more of them be filled later."""
    ahead: list[SheetRow]
    headers: _Headers
    header: tuple[str, ...] = ()
    caption: str = ""
    is_sparse: bool = False
    first: int = 0
    """The number of the first row that is not told yet."""
    rows: list[tuple[str, ...]] = field(factory=list)

    def begin(self) -> Iterator[Block]:
        """Yield what can be told by the first rows."""
        rows = [row for row in self.ahead if self._filled(row)]
        if not rows:
            return
        rows = [row for row in self.ahead if rows[0].number <= row.number <= rows[-1].number]
        filled = sum(map(len, map(self._filled, rows)))
        self.is_sparse = len(rows) * len(self.columns) > _SPARSE * filled + 1_000
        if not self.is_sparse:
            rows = self._captioned(rows)
            rows = self._headed(rows)
        for row in rows:
            yield from self.take(row)
        self.ahead = []

    def take(self, row: SheetRow) -> Iterator[Block]:
        """Take a row; yield a piece of the table when it is long enough."""
        if not self.rows:
            self.first = row.number
        self.rows.append(self._row(row))
        if len(self.rows) >= PIECE:
            yield from self.end()

    def end(self) -> Iterator[Block]:
        """Yield what is left."""
        while self.rows and not any(self.rows[-1]):
            self.rows.pop()
        if self.rows and (len(self.rows) > 1 or len(self.rows[0]) > 1 or self.header or self.caption):
            place = Place(row=self.first)
            yield Table(header=self.header, rows=tuple(self.rows), caption=self.caption, place=place)
        elif self.rows:
            yield Paragraph(text=self.rows[0][0], place=Place(row=self.first))
        elif self.header and self.caption:
            yield Paragraph(text=f"{self.caption}: {', '.join(filter(None, self.header))}", place=Place(row=self.first))
        elif self.caption:
            yield Paragraph(text=self.caption, place=Place(row=self.first))
        self.rows, self.caption = [], ""

    def _filled(self, row: SheetRow) -> dict[int, str]:
        begin, end = self.reach
        return {column: text for column, text in row.cells.items() if begin <= column < end}

    def _row(self, row: SheetRow) -> tuple[str, ...]:
        filled = row.cells if self.reach == _EVERYWHERE else self._filled(row)
        if self.is_sparse:
            return tuple(filled[column] for column in sorted(filled))
        cells = [filled.get(column, "") for column in self.columns]
        if sum(map(bool, cells)) < len(filled):
            cells += [filled[column] for column in sorted(filled.keys() - set(self.columns))]
        while len(self.columns) > _WIDE and cells and not cells[-1]:
            cells.pop()
        return tuple(cells)

    def _captioned(self, rows: list[SheetRow]) -> list[SheetRow]:
        """Take lines above the table for its caption: rows that say one thing, over a table that says more."""
        lines: list[str] = []
        while len(rows) > 1 and len(self.columns) > 1 and len(lines) < _MOST_CAPTIONS:
            said = self._filled(rows[0])
            alone = len(set(said.values())) == 1 and (len(said) == 1 or rows[0].has_spans)
            if not alone or all(len(self._filled(row)) <= 1 for row in rows[1:]):
                break
            lines += set(said.values())
            self.first = rows[0].number
            rows = rows[1:]
        self.caption = " ".join(lines)
        return rows

    def _headed(self, rows: list[SheetRow]) -> list[SheetRow]:
        """Take the names of the columns from the first row, or from a region above with the same columns."""
        cells = [self._row(row) for row in rows]
        looks = [{row.looks.get(column) for column in self._filled(row)} for row in rows if self._filled(row)][:2]
        looks_so = len(looks) > 1 and any(looks[0]) and looks[0].isdisjoint(looks[1])
        declared = 1 if rows[0].is_header and len(rows) > 1 else 0
        if rows[0].has_spans and len(rows) > 2 and all(not is_number(cell) for cell in cells[1]):
            declared = 2 if rows[1].is_header or has_numbers_below(cells[1:], len(self.columns)) else declared
        above = self.headers.over(self.columns)
        if not declared and names_columns(cells, looks_so=looks_so):
            surely = looks_so or has_numbers_below(cells, len(self.columns))
            declared = 1 if surely or not above else 0
        if declared:
            named = [dict.fromkeys(row[at] for row in cells[:declared] if row[at]) for at in range(len(self.columns))]
            self.header = tuple(" ".join(words) for words in named)
            self.headers.known[self.columns] = self.header
            self.first = rows[0].number
        else:
            self.header = above
        return rows[declared:]
