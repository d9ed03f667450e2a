"""Office files that are damaged, locked, misnamed or harmful: refused with a reason, or read as far as they go."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from time import process_time

import pytest

from nexus_core import SourceError, Table
from nexus_core.toolkit import DocumentReader, FileOrigin, ReadSettings
from tests.plugins.readers.office.office_files import (
    docx,
    open_document,
    read,
    relations,
    remarks,
    texts,
    xlsx,
    zipped,
)

MAIN = relations(("r", "officeDocument", "word/document.xml"))
PARAGRAPH = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (COMPOUND + "EncryptedPackage".encode("utf-16-le"), "a.docx", "needs a password"),
        (COMPOUND + "WordDocument".encode("utf-16-le"), "a.doc", "save it as .docx"),
        (COMPOUND + "PowerPoint Document".encode("utf-16-le"), "a.ppt", "save it as .pptx"),
        (COMPOUND + "Workbook".encode("utf-16-le"), "a.xls", "is damaged"),
        (zipped({"a.txt": "x"}), "a.zip", "unpack it"),
        (b"PK\x03\x04 nothing more", "a.docx", "is damaged"),
        (b"PK\x07\x08 split over disks", "a.docx", "is damaged: it begins like an office file"),
        (docx(PARAGRAPH.format("x"))[:-30], "a.docx", "is damaged"),
        (b"", "a.docx", "is empty"),
        (b"just words", "a.xlsx", "no office file"),
        (zipped({"[Content_Types].xml": "<Types/>"}), "a.docx", "no Word, PowerPoint or Excel file"),
        (zipped({"[Content_Types].xml": "words"}), "a.docx", "is damaged"),
        (zipped({"mimetype": "application/vnd.oasis.opendocument.formula"}), "a.odt", "kind that is not read"),
    ],
    ids=[
        "locked",
        "doc",
        "ppt",
        "xls",
        "zip",
        "magic",
        "split",
        "cut",
        "empty",
        "text",
        "foreign",
        "no-xml",
        "formula",
    ],
)
def test_office_file_that_cannot_be_read_is_refused_with_a_reason(data: bytes, name: str, reason: str) -> None:
    """The reason says what to do where anything helps."""
    with pytest.raises(SourceError, match=reason):
        read(data, name)


def test_open_document_with_a_password_is_refused() -> None:
    """Its manifest tells which parts are encrypted."""
    manifest = "<manifest><file-entry><encryption-data/></file-entry></manifest>"
    data = zipped(
        {"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": "x", "META-INF/manifest.xml": manifest}
    )
    with pytest.raises(SourceError, match="needs a password"):
        read(data, "a.odt")


@pytest.mark.parametrize("name", ["a.docx", "report", "a.xlsx", "a.bin"])
def test_office_file_is_known_by_its_bytes(name: str) -> None:
    """Under another name, and without a suffix."""
    assert texts(read(docx(PARAGRAPH.format("here")), name)) == ["here"]


def test_pages_and_rtf_called_doc_are_read() -> None:
    """Many programs write reports so."""
    assert "fee 50" in " ".join(texts(read(b"<html><body><p>fee 50</p></body></html>", "a.xls")))
    assert texts(read(rb"{\rtf1 fee 50\par}", "a.doc")) == ["fee 50"]


@pytest.mark.parametrize(
    "entities",
    ['<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">', '<!ENTITY b SYSTEM "file:///etc/hostname">'],
    ids=["bomb", "external"],
)
def test_xml_with_entities_is_refused(entities: str) -> None:
    """No office program writes any."""
    body = docx(PARAGRAPH.format("x"))
    assert texts(read(body, "a.docx")) == ["x"]
    document = (
        f"<!DOCTYPE x [{entities}]><w:document xmlns:w='w'><w:body>{PARAGRAPH.format('&b;')}</w:body></w:document>"
    )
    with pytest.raises(SourceError, match="entities"):
        read(zipped({"[Content_Types].xml": "<Types/>", "_rels/.rels": MAIN, "word/document.xml": document}), "a.docx")
    with pytest.raises(SourceError, match="entities"):
        read(zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": document}), "a.odt")


def test_zip_bomb_is_read_up_to_its_bound() -> None:
    """Megabytes of paragraphs in a small file: what fits is read, the rest is told."""
    data = docx(PARAGRAPH.format("word ") * 100_000)
    assert len(data) < 50_000
    found = read(data, "a.docx", ReadSettings(max_bytes=1_000_000))
    assert 10_000 < len(texts(found)) < 40_000
    assert any("1,000,000 bytes" in text for text in remarks(found))


def test_binary_workbook_that_unpacks_to_too_much_is_refused() -> None:
    """It is unpacked by a library, which knows no bound."""
    main = relations(("r", "officeDocument", "xl/workbook.bin"))
    data = zipped({"[Content_Types].xml": "<Types/>", "_rels/.rels": main, "xl/workbook.bin": bytes(100_000)})
    with pytest.raises(SourceError, match="unpacks to more than"):
        read(data, "a.xlsb", ReadSettings(max_bytes=50_000))


def test_damaged_parts_are_told_and_the_rest_is_read() -> None:
    """Notes that cannot be parsed do not keep the text out; a text that breaks off is read up to there."""
    found = read(docx(PARAGRAPH.format("here"), comments="<w:comments"), "a.docx")
    assert texts(found) == ["here"]
    assert "word/comments.xml" in remarks(found)[0]
    found = read(docx(PARAGRAPH.format("here") + "<w:p>" + "</w:q>"), "a.docx")
    assert texts(found) == ["here"]
    assert "in part only" in remarks(found)[0]


@pytest.mark.parametrize(
    "data",
    [
        docx("<w:p>" + "<w:hyperlink>" * 100_000),
        open_document("<text:section>" * 100_000),
        open_document("<text:list>" + "<text:list-item><text:list>" * 100_000),
    ],
    ids=["docx", "sections", "lists"],
)
def test_deep_nesting_is_refused(data: bytes) -> None:
    """No document nests its elements hundreds deep."""
    with pytest.raises(SourceError):
        read(data, "a")


def rows_of(data: bytes, name: str) -> list[tuple[str, ...]]:
    return [row for block in read(data, name) if isinstance(block, Table) for row in block.rows]


def test_spans_without_measure_stay_small() -> None:
    """A cell over a million columns, an area over the whole sheet, a row that is repeated a million times."""
    cell = f'<w:tc><w:tcPr><w:gridSpan w:val="1000000"/></w:tcPr>{PARAGRAPH.format("x")}</w:tc>'
    table = f"<w:tbl>{f'<w:tr>{cell}{cell}</w:tr>' * 2}</w:tbl>"
    assert max(map(len, rows_of(docx(table), "a.docx"))) <= 1_001
    merged = '<mergeCells><mergeCell ref="A1:XFD1048576"/></mergeCells>'
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(1, 1_000))
    assert sum(map(len, rows_of(xlsx(rows, merged), "a.xlsx"))) < 500_000
    row = '<table:table-row table:number-rows-repeated="1048576"><table:table-cell><text:p>x</text:p>'
    body = f"<table:table>{row}</table:table-cell></table:table-row></table:table>"
    assert len(rows_of(open_document(body, "spreadsheet"), "a.ods")) <= 10_001


def _seconds(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def _merged_sheet(count: int) -> bytes:
    areas = "".join(f'<mergeCell ref="A1:A{count}"/>' for _ in range(count))
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(1, count))
    return xlsx(rows, f"<mergeCells>{areas}</mergeCells>")


def _diagonal(count: int) -> bytes:
    """Return a sheet in which each row says something in another column."""
    cells = (f'<c r="{chr(65 + n % 26)}{chr(65 + n // 26 % 26)}1"><v>1</v></c>' for n in range(count))
    return xlsx("".join(f'<row r="{n + n // 900}">{cell}</row>' for n, cell in enumerate(cells, 1)))


ROW = "<table:table-row><table:table-cell><text:p>a</text:p></table:table-cell></table:table-row>"
CELL = f"<w:tc>{PARAGRAPH.format('a')}</w:tc>"
GROWING: dict[str, Callable[[int], bytes]] = {
    "paragraphs": lambda n: docx(PARAGRAPH.format("word") * n),
    "runs": lambda n: docx("<w:p>" + "<w:r><w:rPr><w:b/></w:rPr><w:t>a</w:t></w:r>" * n + "</w:p>"),
    "fields": lambda n: docx("<w:p>" + '<w:r><w:fldChar w:fldCharType="begin"/></w:r>' * n + "</w:p>"),
    "captions": lambda n: docx(('<w:p><w:pPr><w:pStyle w:val="C"/></w:pPr><w:r><w:t>a</w:t></w:r></w:p>') * n),
    "table": lambda n: docx(f"<w:tbl>{f'<w:tr>{CELL}</w:tr>' * n}</w:tbl>"),
    "wide": lambda n: docx(f"<w:tbl><w:tr>{CELL * n}</w:tr></w:tbl>"),
    "rows": lambda n: xlsx("".join(f'<row r="{k}"><c r="A{k}"><v>{k}</v></c></row>' for k in range(n))),
    "merged": _merged_sheet,
    "diagonal": _diagonal,
    "odt": lambda n: open_document("<text:p>word</text:p>" * n),
    "lists": lambda n: open_document("<text:list><text:list-item><text:p>a</text:p></text:list-item></text:list>" * n),
    "ods": lambda n: open_document(f"<table:table>{ROW * n}</table:table>", "spreadsheet"),
    "groups": lambda n: rb"{\rtf1 " + b"{a" * min(n, 1_500) + b"}" * min(n, 1_500) + rb"{a}" * n + b"}",
    "cells": lambda n: rb"{\rtf1\trowd " + rb"a\cell " * n + rb"\row}",
    "words": lambda n: rb"{\rtf1 " + rb"\b a\b0\'e9" * n + rb"\par}",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_office_readers_take_time_in_proportion(make: Callable[[int], bytes]) -> None:
    """Four times as much takes at most six times as long, the best of some tries."""
    size = 500
    while True:
        short, long = make(size), make(4 * size)
        taken = min(_seconds(lambda data=short: read(data, "a")) for _ in range(2))  # type: ignore[misc]
        if taken > 0.1 or size > 30_000:
            break
        size *= 2
    assert any(_seconds(lambda: read(long, "a")) <= 6 * taken + 0.05 for _ in range(4))


def test_damaged_file_is_told_to_be_damaged_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installing it would not help; a whole file names the extra for files of its own kind."""
    for module in ("lxml", "lxml.etree", "python_calamine"):
        monkeypatch.setitem(sys.modules, module, None)
    for data in (b"PK\x07\x08 split over disks", b"PK\x03\x04 nothing more"):
        with pytest.raises(SourceError, match="is damaged"):
            list(DocumentReader().items(BytesIO(data), FileOrigin(name="a.docx")).items)
    with pytest.raises(
        SourceError, match=r"office files are read with an extra: pip install 'contextnexus\[documents\]'"
    ):
        list(DocumentReader().items(BytesIO(docx(PARAGRAPH.format("x"))), FileOrigin(name="a.docx")).items)
