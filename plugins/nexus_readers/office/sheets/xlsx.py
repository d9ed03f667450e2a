"""Excel files (xlsx, xlsm): the sheets as tables, numbers as they are shown, row by row in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import unescape
from typing import Any

from attrs import define, field, frozen

from nexus_core import Block, Figure, Heading, Paragraph, Place, Remark
from nexus_core.toolkit import counted
from nexus_readers.office.inline import Look, StyledLine
from nexus_readers.office.packages import (
    Package,
    Relation,
    attribute,
    child,
    core_metadata,
    inner_text,
    let_go,
    name_of,
)
from nexus_readers.office.sheets.number_formats import GENERAL, NumberFormat, built_in_format, number_format
from nexus_readers.office.sheets.sheet_tables import SheetRow, sheet_blocks
from nexus_readers.office.slide_text import SlideText
from nexus_readers.office.word.styles import as_int, is_on, value

_AFTER_ROWS = re.compile(rb"<(?:\w+:)?(mergeCell|hyperlink|autoFilter)\s[^>]*>")
"""What stands after the rows, and must be known before them."""
_ATTRIBUTE = re.compile(rb"([\w:]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_REFERENCE = re.compile(r"\$?([A-Za-z]{1,3})\$?([0-9]{1,7})(?::\$?([A-Za-z]{1,3})\$?([0-9]{1,7}))?")
_MOST_COPIES = 200_000
"""Cells that merged ones may add, all together."""
_WIDEST = 1_000
_LONG_NUMBER = 12
"""Digits from which a whole number may be shown otherwise than it is written."""
_MOST_HIDDEN = 200
"""Ranges of hidden columns."""
_MOST_TOLD = 5


def xlsx_blocks(package: Package, main: str, *, hidden: bool) -> Iterator[Block]:
    """Yield the blocks of a workbook, sheet by sheet."""
    yield core_metadata(package)
    workbook = package.tree(main)
    relations = package.relations(main)
    book = _Book(package, relations, from_1904=attribute_on(child(workbook, "workbookPr"), "date1904"))
    sheets = child(workbook, "sheets")
    for each in sheets if sheets is not None else ():
        name, state = attribute(each, "name"), attribute(each, "state")
        found = relations.get(next((told for key, told in each.items() if key.endswith("}id")), ""))
        if found is None or found.target not in package:
            yield Remark(text=f"sheet {name!r} is missing in the file", lost=True)
        elif state in ("hidden", "veryHidden") and not hidden:
            yield Remark(text=f"sheet {name!r} is hidden; left out (read it with `hidden: true`)", lost=True)
        else:
            yield Heading(text=name, implied=True)
            yield from _Sheet(book, name, found.target, hidden).blocks()


def attribute_on(element: Any | None, name: str) -> bool:
    """Tell whether an attribute says yes."""
    return element is not None and attribute(element, name) in ("1", "true", "on")


class _Book:
    """What all sheets of a workbook share: strings and formats."""

    def __init__(self, package: Package, relations: Mapping[str, Relation], *, from_1904: bool) -> None:
        self.package = package
        self.from_1904 = from_1904
        parts = {each.kind: each.target for each in relations.values()}
        self.strings = list(self._strings(parts.get("sharedStrings", "")))
        self.formats: dict[str, NumberFormat] = {}
        """By the numbers of styles."""
        self.struck: set[str] = set()
        """The styles whose text is struck out, by their numbers."""
        self._read_styles(package.optional_tree(parts.get("styles", "")))

    def _strings(self, part: str) -> Iterator[str]:
        if part in self.package:
            for each in self.package.elements(part, "si"):
                yield rich_text(each)
                let_go(each)

    def _read_styles(self, root: Any | None) -> None:
        codes = {attribute(each, "numFmtId"): attribute(each, "formatCode") for each in _children(root, "numFmts")}
        fonts = [is_on(child(font, "strike")) for font in _children(root, "fonts")]
        for number, each in enumerate(_children(root, "cellXfs")):
            id, font = attribute(each, "numFmtId", "0"), as_int(attribute(each, "fontId", "0"))
            format = number_format(codes[id]) if id in codes else built_in_format(as_int(id))
            self.formats[str(number)] = GENERAL if format == GENERAL else format
            if 0 <= font < len(fonts) and fonts[font]:
                self.struck.add(str(number))

    def text(self, cell: Any) -> str | None:
        """Return what a cell shows; None for a formula whose result the file does not keep."""
        kind, style, raw, formula = cell.get("t", "n"), cell.get("s", "0"), "", False
        # A sheet has millions of cells: their names are compared as they are.
        for each in cell:
            tag = each.tag
            if tag.endswith("}v"):
                raw = each.text or ""
            elif tag.endswith("}is"):
                raw = rich_text(each)
            elif tag.endswith("}f"):
                formula = True
        if not raw:
            return None if formula and kind != "str" else ""
        text = self._shown(raw, kind, style)
        return f"~~{text}~~" if style in self.struck and text else text

    def _shown(self, raw: str, kind: str, style: str) -> str:
        if kind == "s":
            at = as_int(raw, -1)
            return self.strings[at] if 0 <= at < len(self.strings) else ""
        if kind == "n":
            format = self.formats.get(style, GENERAL)
            if format is GENERAL and raw.isdigit() and len(raw) < _LONG_NUMBER:
                return raw
            return format.shown(raw, from_1904=self.from_1904)
        if kind == "b":
            return "TRUE" if raw == "1" else "FALSE"
        if kind == "d":
            return raw.removesuffix("T00:00:00").replace("T", " ")
        return " ".join(raw.split())


def _children(root: Any | None, name: str) -> list[Any]:
    found = child(root, name)
    return [] if found is None else list(found)


def rich_text(element: Any) -> str:
    """Return the text of a cell or comment, with raised, lowered and struck characters told; not how it is read."""
    if len(element) == 1 and name_of(element[0]) == "t":
        return " ".join((element[0].text or "").split())
    line = StyledLine()
    for each in element:
        name = name_of(each)
        if name == "t":
            line.add(each.text or "")
        elif name == "r":
            properties = child(each, "rPr")
            raised = value(child(properties, "vertAlign"))
            look: Look = "raised" if raised == "superscript" else "lowered" if raised == "subscript" else ""
            look = "struck" if is_on(child(properties, "strike")) else look
            text = child(each, "t")
            line.add((text.text or "") if text is not None else "", look)
    return line.text()


@frozen
class _Merged:
    left: int
    right: int
    last_row: int


@define(eq=False)
class _Sheet:
    book: _Book
    name: str
    part: str
    hidden: bool
    _merged: dict[int, list[_Merged]] = field(factory=dict)
    """By the rows in which they begin."""
    _links: dict[tuple[int, int], str] = field(factory=dict)
    _headers: set[int] = field(factory=set)
    """The rows that the file says are headers."""
    _hidden_rows: list[int] = field(factory=list)
    _hidden_columns: list[tuple[int, int]] = field(factory=list)
    _unknown: int = 0
    """Formulas without results."""
    _copies: int = 0
    _reaching: list[tuple[_Merged, str]] = field(factory=list)
    """Merged cells that reach into the row that comes next."""

    def blocks(self) -> Iterator[Block]:
        """Yield the regions of the sheet, then its text boxes and comments."""
        self._look_ahead()
        yield from sheet_blocks(self._rows())
        yield from self._drawn()
        yield from self._comments()
        yield from self._remarks()

    def _look_ahead(self) -> None:
        relations = self.book.package.relations(self.part)
        for match in self.book.package.find_all(self.part, _AFTER_ROWS):
            told = {key.rpartition(b":")[2]: unescape((a or b).decode("utf-8", "replace"))
                    for key, a, b in _ATTRIBUTE.findall(match)}  # fmt: skip
            area = area_of(told.get(b"ref", ""))
            if area is None:
                continue
            top, left, bottom, right = area
            if b"mergeCell" in match:
                self._merged.setdefault(top, []).append(_Merged(left, min(right, left + _WIDEST), bottom))
            elif b"autoFilter" in match:
                self._headers.add(top)
            elif (found := relations.get(told.get(b"id", ""))) is not None and found.is_external:
                self._links[top, left] = found.target
        for relation in relations.values():
            if relation.kind == "table":
                root = self.book.package.optional_tree(relation.target)
                area = area_of(attribute(root, "ref")) if root is not None else None
                if area is not None and attribute(root, "headerRowCount", "1") != "0":
                    self._headers.add(area[0])

    def _rows(self) -> Iterator[SheetRow]:
        number = 0
        for each in self.book.package.elements(self.part, "row", "col"):
            if name_of(each) == "col":
                few = len(self._hidden_columns) < _MOST_HIDDEN
                if few and attribute_on(each, "hidden") and not self.hidden:
                    self._hidden_columns.append((as_int(each.get("min", "")) - 1, as_int(each.get("max", "")) - 1))
                continue
            number = as_int(each.get("r", ""), number + 1)
            if attribute_on(each, "hidden") and not self.hidden:
                self._hidden_rows.append(number)
                yield SheetRow(number, {})
            elif (row := self._row(each, number)).cells:
                yield row
            let_go(each)

    def _row(self, element: Any, number: int) -> SheetRow:
        cells: dict[int, str] = {}
        looks: dict[int, str] = {}
        column, text_of = -1, self.book.text
        for cell in element:
            reference = cell.get("r")
            column = column_of(reference.rstrip("0123456789")) if reference else column + 1
            text = text_of(cell)
            if text is None:
                self._unknown += 1
            elif text and not (self._hidden_columns and self._is_hidden(column)):
                target = self._links.get((number, column), "") if self._links else ""
                cells[column] = f"[{text}]({target})" if target and target not in (text, f"mailto:{text}") else text
                looks[column] = cell.get("s", "0")
        has_spans = self._fill(number, cells) if self._merged else False
        return SheetRow(number, cells, looks, has_spans, number in self._headers)

    def _is_hidden(self, column: int) -> bool:
        return any(first <= column <= last for first, last in self._hidden_columns)

    def _fill(self, number: int, cells: dict[int, str]) -> bool:
        """Put what merged cells say into each cell that they cover; tell whether one is several columns wide."""
        self._reaching = [(merged, text) for merged, text in self._reaching if merged.last_row >= number]
        begun = [(merged, cells.get(merged.left, "")) for merged in self._merged.get(number, ())]
        self._reaching += [(merged, text) for merged, text in begun if text]
        for merged, text in self._reaching:
            self._copies += 1 + merged.right - merged.left
            for column in range(merged.left, merged.right + 1):
                if not self._is_hidden(column):
                    cells.setdefault(column, text)
        has_spans = any(merged.right > merged.left for merged, _ in self._reaching)
        if self._copies > _MOST_COPIES:
            self._merged, self._reaching = {}, []
        return has_spans

    def _drawn(self) -> Iterator[Block]:
        """Yield text boxes, titles of charts and what is written about pictures; a chart's values stand in cells."""
        package = self.book.package
        for relation in package.relations(self.part).values():
            root = package.optional_tree(relation.target) if relation.kind == "drawing" else None
            relations = package.relations(relation.target) if root is not None else {}
            for each in root.iter("{*}txBody", "{*}cNvPr", "{*}chart") if root is not None else ():
                if name_of(each) == "txBody":
                    yield from SlideText(relations).blocks(each)
                elif name_of(each) == "cNvPr":
                    yield from [Figure(text=" ".join(text.split())) for text in [attribute(each, "descr")] if text]
                elif attribute(each, "id") in relations:
                    chart = child(package.optional_tree(relations[attribute(each, "id")].target), "chart", "title")
                    title = "" if chart is None else " ".join(t.text or "" for t in chart.iter("{*}t"))
                    yield from [Paragraph(text=f"Chart: {' '.join(title.split())}")] if title.strip() else []

    def _comments(self) -> Iterator[Block]:
        package = self.book.package
        relations = sorted(package.relations(self.part).values(), key=lambda each: each.kind)
        for relation in relations:
            root = package.optional_tree(relation.target) if relation.kind in ("comments", "threadedComment") else None
            if root is None:
                continue
            authors = [inner_text(each) for each in _children(root, "authors")]
            for each in root.iter("{*}comment", "{*}threadedComment"):
                text = child(each, "text")
                said = "" if text is None else rich_text(text) or inner_text(text)
                at = as_int(attribute(each, "authorId", "-1"), -1)
                author = f" by {authors[at]}" if 0 <= at < len(authors) and authors[at] else ""
                cell = attribute(each, "ref")
                area = area_of(cell)
                if said and not said.startswith("[Threaded comment]"):
                    place = Place(row=area[0]) if area else Place()
                    yield Paragraph(text=f"Comment on {cell}{author}: {said}", place=place)

    def _remarks(self) -> Iterator[Block]:
        where = f"sheet {self.name!r}"
        if self._hidden_rows:
            shown = ", ".join(map(str, self._hidden_rows[:_MOST_TOLD]))
            more = ", ..." if len(self._hidden_rows) > _MOST_TOLD else ""
            yield Remark(
                text=f"{where}: hidden rows are left out ({shown}{more}): read them with `hidden: true`", lost=True
            )
        if self._hidden_columns:
            shown = ", ".join(letters_of(first) for first, _ in self._hidden_columns[:_MOST_TOLD])
            yield Remark(
                text=f"{where}: hidden columns are left out ({shown}): read them with `hidden: true`", lost=True
            )
        if self._unknown:
            yield Remark(
                text=f"{where}: formulas have no stored results ({counted(self._unknown, 'cell')}):"
                " open the file in a spreadsheet program and save it",
                lost=True,
            )


@lru_cache(maxsize=20_000)
def column_of(letters: str) -> int:
    """Return the number of a column from 0: `A` is 0, `AA` is 26."""
    number = 0
    for letter in letters[:3].upper():
        number = number * 26 + ord(letter) - 64
    return max(0, number - 1)


def letters_of(column: int) -> str:
    """Return the letters of a column from 0."""
    letters, column = "", column + 1
    while column > 0:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def area_of(reference: str) -> tuple[int, int, int, int] | None:
    """Return top, left, bottom, right of an area, `A1:C3`; rows count from 1, columns from 0."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return None
    left, top, right, bottom = found.groups()
    return int(top), column_of(left), int(bottom or top), column_of(right or left)
