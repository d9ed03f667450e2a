"""The parts of a Markdown document before their lines are read: what both ways of finding them give.

A document that is plain enough is read line by line (`lines`), any other by markdown-it (`tokens`).
"""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """A part: a named tuple, since a document has thousands."""

    kind: str
    """`text`, `heading`, `code`, `html` or `table`."""
    text: str
    """As it is written, the marks of lists and quotations gone from its lines; of a table, nothing."""
    line: int
    """The first one, from 0."""
    after: int
    """The line after it."""
    level: int = 0
    """Of a heading; of text in a quotation, how deep; of text in a list item, how deep."""
    marker: str = ""
    """Of text that a list item begins with: `-` or `3.`; `>` of text in a quotation; the language of code."""
    rows: tuple[tuple[str, ...], ...] = ()
    """Of a table, its header first."""
    note: str = ""
    """The label of the footnote that it belongs to."""
    underlined: bool = False
    """A heading with a line under it, which may begin with addresses of links."""


def cells_of(line: str) -> list[str]:
    """Return the cells of a line of a table, as markdown-it cuts it."""
    line = line.strip()
    if "\\" not in line:
        cells = line.split("|")
    else:
        cells = []
        begin = 0
        for at, character in enumerate(line):
            if character == "|" and not (at and line[at - 1] == "\\"):
                cells.append(line[begin:at])
                begin = at + 1
        cells.append(line[begin:])
        cells = [cell.replace("\\|", "|") for cell in cells]
    if cells and not cells[0]:
        del cells[0]
    if cells and not cells[-1]:
        del cells[-1]
    return [cell.strip() for cell in cells]


def filled(cells: list[str], width: int) -> tuple[str, ...]:
    """Return a row with as many cells as the header has."""
    return tuple(cells[:width]) + ("",) * (width - len(cells))
