"""Rows of any file into tables as they come: some hundred rows each, all with the names of their columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, field

from nexus_core import Block, Paragraph, Place, Table

MOST_ROWS = 200
"""Of one table."""
MOST_CHARACTERS = 20_000
"""Of one table, about."""
LONG_CELL = 2_000
"""Characters: a longer cell is a text, and follows its row as paragraphs that can be cut."""


@define(eq=False, repr=False)
class RowGroups:
    """Takes rows one by one, and gives tables as they are full."""

    header: tuple[str, ...] = ()
    caption: str = ""
    number: int = 0
    """How many rows of the file come before: 1 where its header is one of them, as programs for sheets count."""
    _rows: list[tuple[str, ...]] = field(factory=list)
    _place: Place = Place()
    _size: int = 0

    def add(self, cells: Sequence[str], line: int | None = None) -> Iterator[Block]:
        """Take a row that begins in a line; yield what is complete with it."""
        row = tuple(" ".join(cell.split()) for cell in cells)
        self.number += 1
        if not any(row):
            yield from self.end()
            return
        if not self._rows:
            self._place = Place(line=line, row=self.number)
        long = [at for at, cell in enumerate(row) if len(cell) > LONG_CELL]
        self._rows.append(tuple("" if at in long else cell for at, cell in enumerate(row)) if long else row)
        self._size += sum(map(len, row))
        if long:
            yield from self.end()
            for at in long:
                name = self.header[at] if at < len(self.header) else ""
                text = f"{name}: {row[at]}" if name else row[at]
                yield Paragraph(text=text, place=Place(line=line, row=self.number))
        elif len(self._rows) >= MOST_ROWS or self._size >= MOST_CHARACTERS:
            yield from self.end()

    def end(self) -> Iterator[Block]:
        """Yield the rows that are left."""
        rows = tuple(row for row in self._rows if any(row))
        if rows:
            yield Table(header=self.header, rows=rows, caption=self.caption, place=self._place)
        self._rows, self._size, self.caption = [], 0, ""


def column_names(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns as one line each."""
    return tuple(" ".join(cell.split()) for cell in cells)
