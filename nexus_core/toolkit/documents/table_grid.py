"""Tables with spans into plain rows: a cell over several columns or rows stands in each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field, frozen

MOST_COLUMNS = 1_000
MOST_COPIES = 1_000_000
"""Cells that spans may add to a table, all together: a page of a few bytes may ask for thousands of millions."""


@frozen
class Cell:
    """A cell as the file has it."""

    text: str
    columns: int = 1
    """How many it is wide."""
    rows: int = 1
    """How many it is high; 0 is all that are left, as HTML has it."""


@define
class _Carried:
    """A cell of a row before that reaches into this one."""

    text: str
    left: int


@define(eq=False)
class TableGrid:
    """Takes the rows of a table one by one, and gives each back with the cells that reach into it."""

    _carried: dict[int, _Carried] = field(factory=dict)
    _copies: int = 0

    def row(self, cells: Iterable[Cell]) -> tuple[str, ...]:
        """Return the texts of a row, column by column."""
        found: list[str] = []
        for cell in cells:
            self._carry_into(found)
            for _ in range(self._granted(cell.columns, MOST_COLUMNS - len(found))):
                if cell.rows != 1 and len(found) < MOST_COLUMNS:
                    self._carried[len(found)] = _Carried(cell.text, (cell.rows or MOST_COPIES) - 1)
                found.append(cell.text)
        last = max(self._carried, default=-1)
        while len(found) <= last:
            self._carry_into(found)
            found += [""] * (len(found) <= last)
        return tuple(found)

    def end_group(self) -> None:
        """End a group of rows: no cell reaches beyond it."""
        self._carried.clear()

    def _carry_into(self, found: list[str]) -> None:
        """Add the cells from above that stand next, up to the first column without one."""
        while (above := self._carried.get(len(found))) is not None:
            above.left -= 1
            self._copies += 1
            if above.left <= 0 or self._copies > MOST_COPIES:
                del self._carried[len(found)]
            found.append(above.text)

    def _granted(self, columns: int, room: int) -> int:
        """Return how many columns a cell gets of those it asks for."""
        wanted = max(1, min(columns, room))
        self._copies += wanted - 1
        return wanted if self._copies <= MOST_COPIES else 1


def table_rows(rows: Iterable[Sequence[Cell]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a whole table without spans."""
    grid = TableGrid()
    for row in rows:
        yield grid.row(row)
