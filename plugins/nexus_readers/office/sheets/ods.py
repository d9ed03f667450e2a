"""OpenDocument sheets (ods): row by row in bounded memory; cells say what the file shows, dates are ISO 8601."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from attrs import define, field, frozen

from nexus_core import Block, Heading, Paragraph, Place, Remark
from nexus_readers.office.open_document.documents import open_metadata
from nexus_readers.office.open_document.styles import OpenStyles
from nexus_readers.office.open_document.texts import NoteMarks, OpenText
from nexus_readers.office.packages import Package, attribute, child, inner_text, let_go, name_of
from nexus_readers.office.sheets.sheet_tables import SheetRow, sheet_blocks
from nexus_readers.office.word.styles import as_int

_WIDEST = 1_000
"""Columns over which one cell is repeated or merged."""
_MOST_REPEATED = 10_000
"""Rows that are there since another one is repeated, in the whole file."""
_MOST_COPIES = 1_000_000
"""Cells that repetition and merging may add, in the whole file."""


@frozen
class _SheetLine:
    """A row with the sheet that it stands in."""

    sheet: str
    is_hidden: bool
    row: SheetRow


def ods_blocks(package: Package, *, hidden: bool) -> Iterator[Block]:
    """Yield the blocks of a workbook, sheet by sheet."""
    yield open_metadata(package)
    sheets = _Sheets(package, hidden)
    for (name, is_hidden), lines in groupby(sheets.lines(), lambda line: (line.sheet, line.is_hidden)):
        if is_hidden and not hidden:
            yield Remark(text=f"sheet {name!r} is hidden; left out (read it with `hidden: true`)", lost=True)
            continue
        yield Heading(text=name, implied=True)
        sheets.begin()
        yield from sheet_blocks(line.row for line in lines)
        yield from sheets.comments
        if sheets.hidden_rows:
            told = f"sheet {name!r}: {sheets.hidden_rows} hidden rows are left out: read them with `hidden: true`"
            yield Remark(text=told, lost=True)


@define(eq=False)
class _Sheets:
    """The rows of all sheets as the file is read."""

    package: Package
    hidden: bool
    comments: list[Block] = field(factory=list)
    hidden_rows: int = 0
    _not_shown: set[str] = field(factory=set)
    """The styles of hidden sheets."""
    _struck: set[str] = field(factory=set)
    _number: int = 0
    _repeated: int = 0
    _copies: int = 0
    _spans: dict[int, tuple[str, int]] = field(factory=dict)
    """What merged cells say, and their last rows, by columns."""

    def begin(self) -> None:
        """Forget what belongs to the sheet before; the first row of this one is read already."""
        self.comments = [each for each in self.comments if each.place.row == self._number]
        self.hidden_rows = 0

    def lines(self) -> Iterator[_SheetLine]:
        """Yield the rows, those of hidden sheets, too."""
        sheet: Any | None = None
        for each in self.package.elements("content.xml", "table-row", "style"):
            if name_of(each) == "style":
                self._style(each)
                continue
            found = _sheet_of(each)
            if found is None:
                continue
            if found is not sheet:
                sheet, self._number, self._spans = found, 0, {}
            is_hidden = attribute(found, "style-name") in self._not_shown
            for row in self._rows(each):
                yield _SheetLine(attribute(found, "name"), is_hidden, row)
            let_go(each)

    def _style(self, element: Any) -> None:
        table, text = child(element, "table-properties"), child(element, "text-properties")
        if table is not None and attribute(table, "display") == "false":
            self._not_shown.add(attribute(element, "name"))
        if text is not None and attribute(text, "text-line-through-style", "none") != "none":
            self._struck.add(attribute(element, "name"))

    def _rows(self, element: Any) -> Iterator[SheetRow]:
        times = max(1, as_int(attribute(element, "number-rows-repeated", "1"), 1))
        first = self._number + 1
        is_hidden = attribute(element, "visibility", "visible") != "visible" and not self.hidden
        self._number += 1
        row = self._row(element, first)
        self._number = first + times - 1
        if is_hidden:
            self.hidden_rows += bool(row.cells) * times
            return
        if not row.cells:
            return
        for number in range(first, first + times):
            yield SheetRow(number, row.cells, row.looks, row.has_spans, row.is_header)
            self._repeated += 1
            if number > first and self._repeated > _MOST_REPEATED:
                return

    def _row(self, element: Any, number: int) -> SheetRow:
        cells: dict[int, str] = {}
        looks: dict[int, str] = {}
        column, has_spans = 0, False
        for each in element:
            name = name_of(each)
            if name not in ("table-cell", "covered-table-cell"):
                continue
            times = max(1, as_int(attribute(each, "number-columns-repeated", "1"), 1))
            text = self._text(each, number)
            if not text and name == "covered-table-cell":
                for at in range(column, column + min(times, _WIDEST)):
                    said, last = self._spans.get(at, ("", 0))
                    if said and number <= last:
                        cells[at] = said
            elif text:
                has_spans = self._merge(each, column, number, text) or has_spans
                for at in range(column, column + min(times, _WIDEST)):
                    self._copies += 1
                    if at == column or self._copies < _MOST_COPIES:
                        cells[at], looks[at] = text, attribute(each, "style-name")
            column += times
        parent = element.getparent()
        is_header = parent is not None and name_of(parent) == "table-header-rows"
        return SheetRow(number, cells, looks, has_spans, is_header)

    def _merge(self, cell: Any, column: int, number: int, text: str) -> bool:
        """Remember what a merged cell says for those that it covers; tell whether it is several columns wide."""
        columns = min(as_int(attribute(cell, "number-columns-spanned", "1"), 1), _WIDEST)
        rows = as_int(attribute(cell, "number-rows-spanned", "1"), 1)
        if columns > 1 or rows > 1:
            self._copies += columns
            if self._copies < _MOST_COPIES:
                self._spans.update(dict.fromkeys(range(column, column + columns), (text, number + rows - 1)))
        return columns > 1

    def _text(self, cell: Any, number: int) -> str:
        said = []
        for each in cell:
            name = name_of(each)
            if name == "p":
                said.append((each.text or "") if not len(each) else self._rich(each))
            elif name == "annotation":
                author = inner_text(child(each, "creator"))
                text = " ".join(inner_text(inner) for inner in each if name_of(inner) in ("p", "list"))
                told = f"Comment{f' by {author}' if author else ''}: {text}"
                self.comments.append(Paragraph(text=told, place=Place(row=number)))
        if not said:
            return ""
        text = " ".join(" ".join(said).split())
        if attribute(cell, "value-type") == "date":
            text = attribute(cell, "date-value").removesuffix("T00:00:00").replace("T", " ") or text
        return f"~~{text}~~" if text and attribute(cell, "style-name") in self._struck else text

    def _rich(self, paragraph: Any) -> str:
        found = OpenText(OpenStyles(), NoteMarks())
        found.read(paragraph)
        return found.line.text()


def _sheet_of(row: Any) -> Any | None:
    """Return the sheet that a row stands in; None where it is one of a table inside of a cell."""
    for above in row.iterancestors():
        name = name_of(above)
        if name == "table":
            return above
        if name == "table-cell":
            return None
    return None
