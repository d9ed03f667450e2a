"""Files of older programs, and what only is called like an office file: read where that can be, refused with a way out.

Sheets of before 2007 (xls) and binary ones (xlsb) are read by python-calamine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from io import BytesIO
from typing import Any, BinaryIO

from nexus_core import Block, Heading, ReadHints, Remark, SourceError
from nexus_core.toolkit import require_extra
from nexus_readers.office.rtf import rtf_blocks
from nexus_readers.office.sheets.sheet_tables import SheetRow, sheet_blocks

_COMPOUND = b"\xd0\xcf\x11\xe0"
_HEAD = 4_096
_MOST_COPIES = 1_000_000
"""Cells that merged ones may add."""


def old_blocks(file: BinaryIO, hints: ReadHints, *, hidden: bool) -> Iterator[Block]:
    """Yield the blocks of a file that is no zip file, by its first bytes; raises SourceError for what is not read."""
    data = file.read(hints.max_bytes + 1)[: hints.max_bytes]
    head = data[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if data.startswith(b"PK"):
        raise SourceError("is damaged: it begins like an office file, and is none; left out")
    if data.startswith(_COMPOUND):
        yield from _compound(data, hidden)
    elif head.startswith(b"{\\rtf"):
        yield from rtf_blocks(data)
    elif b"<html" in head or head.startswith(b"<!doctype html"):
        yield from _page(data, hints)
    elif head.startswith(b"<?xml"):
        raise SourceError("is an office file as plain XML; left out: save it as .docx, .xlsx or .odt")
    elif not data:
        raise SourceError("is empty; left out")
    else:
        raise SourceError("is damaged, or no office file: its first bytes are those of none; left out")


def binary_sheets(file: BinaryIO, hints: ReadHints, *, hidden: bool) -> Iterator[Block]:
    """Yield the sheets of a binary workbook (xlsb)."""
    file.seek(0)
    yield from _sheets(file.read(hints.max_bytes + 1)[: hints.max_bytes], hidden)


def _page(data: bytes, hints: ReadHints) -> Iterator[Block]:
    """Yield the blocks of a page of HTML under the name of an office file, as many programs write their reports."""
    for number, block in enumerate(hints.read_inner(hints.name, data, "text/html", 0)):
        if number or not (isinstance(block, Heading) and block.implied):
            yield block


def _compound(data: bytes, hidden: bool) -> Iterator[Block]:
    """Yield the sheets of a file in the format of before 2007; its streams are told by their names."""

    def has(name: str) -> bool:
        return name.encode("utf-16-le") in data

    if has("EncryptedPackage") or has("EncryptionInfo"):
        raise SourceError("needs a password; left out: save it without one")
    if has("WordDocument"):
        raise SourceError("is a Word file of before 2007; left out: save it as .docx")
    if has("PowerPoint Document"):
        raise SourceError("is a PowerPoint file of before 2007; left out: save it as .pptx")
    if has("__properties_version1.0"):
        raise SourceError("is a mail of Outlook under another name; left out: rename it to .msg")
    if not has("Workbook") and not has("Book"):
        raise SourceError("is an old office file of a kind that is not read; left out: save it in a newer one, or PDF")
    yield from _sheets(data, hidden)


def _sheets(data: bytes, hidden: bool) -> Iterator[Block]:
    calamine = require_extra("python_calamine", "documents", "xls and xlsb files")
    book = _guarded(lambda: calamine.CalamineWorkbook.from_filelike(BytesIO(data)))
    for sheet in book.sheets_metadata:
        shown = str(sheet.visible).rpartition(".")[2] == "Visible"
        if "WorkSheet" not in str(sheet.typ):
            continue
        if not shown and not hidden:
            told = f"sheet {sheet.name!r} is hidden; left out (read it with `hidden: true`)"
            yield Remark(text=told, lost=True)
            continue
        yield Heading(text=sheet.name, implied=True)
        yield from sheet_blocks(_rows(_guarded(lambda name=sheet.name: book.get_sheet_by_name(name))))


def _guarded(read: Any) -> Any:
    """Return what calamine reads; raises SourceError where it cannot."""
    try:
        return read()
    except Exception as error:
        if "password" in str(error).lower():
            raise SourceError("needs a password; left out: save it without one") from error
        raise SourceError(f"is damaged ({error}); left out") from error


def _rows(sheet: Any) -> Iterator[SheetRow]:
    first_row, first_column = sheet.start or (0, 0)
    covered, spanned = _covered(sheet.merged_cell_ranges or ())
    for number, values in enumerate(sheet.to_python(skip_empty_area=True), first_row):
        cells = {column: text for column, value in enumerate(values, first_column) if (text := _shown(value))}
        for column, left in covered.get(number, ()):
            if left in cells:
                cells.setdefault(column, cells[left])
        if cells:
            yield SheetRow(number + 1, cells, {}, number in spanned)


def _covered(ranges: Iterable[Any]) -> tuple[dict[int, list[tuple[int, int]]], set[int]]:
    """Return which columns merged cells cover, row by row, with the first of them; and the rows with wide ones."""
    covered: dict[int, list[tuple[int, int]]] = {}
    spanned = set()
    left_over = _MOST_COPIES
    for (top, left), (_, right) in ranges:
        left_over -= right - left
        if left_over > 0 and right > left:
            covered.setdefault(top, []).extend((column, left) for column in range(left + 1, right + 1))
            spanned.add(top)
    return covered, spanned


def _shown(value: Any) -> str:
    """Return a value as text: whole numbers without a point, dates as ISO 8601."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"
    if isinstance(value, datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return " ".join(str(value).split())
