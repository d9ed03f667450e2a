"""PDF files that are damaged, locked, scanned or hostile: what can be read is read, and what is missing is told."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from io import BytesIO
from time import process_time

import pytest
from nexus_readers.recognition import Recognition
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from nexus_core import Block, Paragraph, Remark, SourceError
from nexus_core.toolkit import DocumentReader, FileOrigin, NotReadError, ReadSettings

TRIES = 3
"""How often a time is compared at most: what another process does to caches passes."""
TREES = ["alder", "birch", "cedar", "elm", "fir", "gum"]


def blocks_of(data: bytes, name: str = "a.pdf", **options: str) -> list[Block]:
    """Return what is read of a file."""
    settings = ReadSettings(readers={".pdf": options} if options else {})
    return list(DocumentReader(settings).blocks(BytesIO(data), FileOrigin(name=name))[1])


def texts(blocks: Sequence[Block]) -> list[str]:
    """Return the texts of the paragraphs."""
    return [block.text for block in blocks if isinstance(block, Paragraph)]


def remarks(blocks: Sequence[Block]) -> str:
    """Return what the reader tells."""
    return "\n".join(block.text for block in blocks if isinstance(block, Remark))


def pdf_of(pages: Sequence[str], *, compress: bool = False, broken: int = -1, kids: str = "") -> bytes:
    """Write a PDF with one line on each page; the stream of one may be broken."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    numbers = []
    for at, text in enumerate(pages):
        stream: bytes = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET".encode("latin-1")
        how = b""
        if compress:
            stream, how = zlib.compress(stream), b"/Filter /FlateDecode "
        if at == broken:
            stream = b"\x00\xff" * (len(stream) // 2)
        objects.append(b"<< %s/Length %d >>\nstream\n%s\nendstream" % (how, len(stream), stream))
        numbers.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
    children = kids.encode() or b" ".join(b"%d 0 R" % number for number in numbers)
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (children, len(numbers))
    body, places = b"%PDF-1.4\n", []
    for number, written in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, written)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(body))
    return body + head + end


WHOLE = pdf_of(TREES)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (WHOLE.replace(b"startxref\n", b"startxref\n9"), "place of its table"),
        (WHOLE[: WHOLE.index(b"xref\n0")], "end is missing"),
        (b"some junk of a mail\r\n\r\n" + WHOLE, "before its header"),
        (WHOLE[: WHOLE.index(b"trailer")], "end is missing"),
    ],
    ids=["wrong-startxref", "no-xref", "leading-junk", "no-trailer"],
)
def test_a_damaged_file_is_read_and_the_repair_told(data: bytes, reason: str) -> None:
    """All its pages are there."""
    blocks = blocks_of(data)
    assert texts(blocks) == TREES
    assert "repaired" in remarks(blocks)
    assert reason in remarks(blocks)


def test_a_truncated_file_is_read_as_far_as_it_goes() -> None:
    """It tells how many of its pages are missing."""
    data = WHOLE[: WHOLE.index(b"(elm)")]
    blocks = blocks_of(data)
    assert texts(blocks) == TREES[:3]
    assert "3 of its pages are missing" in remarks(blocks)
    assert any(block.lost for block in blocks if isinstance(block, Remark))


def test_a_truncated_file_with_packed_objects_is_read() -> None:
    """Its pages stand in a compressed stream, and the tree of pages is lost."""
    page = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    places = b"3 0 5 %d " % (len(font) + 1)
    packed = zlib.compress(places + font + b" " + page)
    shown = b"BT /F1 12 Tf 50 700 Td (alder) Tj ET"
    data = b"%%PDF-1.5\n4 0 obj\n<< /Length %d >>\nstream\n%s\nendstream\nendobj\n" % (len(shown), shown)
    named = b"/Type /ObjStm /N 2 /First %d /Filter /FlateDecode /Length %d" % (len(places), len(packed))
    data += b"6 0 obj\n<< %s >>\nstream\n%s\nendstream\nendobj\n" % (named, packed)
    blocks = blocks_of(data + b"7 0 obj\n<< /Type /XR")
    assert texts(blocks) == ["alder"]
    assert "pages after the last one may be missing" in remarks(blocks)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_one_bad_page_takes_no_other_with_it(compress: bool) -> None:
    """The remark names it."""
    blocks = blocks_of(pdf_of(TREES, compress=compress, broken=3))
    assert texts(blocks) == [tree for tree in TREES if tree != "elm"]
    assert remarks(blocks) == ("page 4 cannot be read: damaged" if compress else remarks(blocks))


def test_a_blank_page_is_no_damage() -> None:
    """Nothing is told of it."""
    data = BytesIO()
    canvas = Canvas(data)
    for text in ("one", "", "three"):
        canvas.drawString(60, 700, text)
        canvas.showPage()
    canvas.save()
    blocks = blocks_of(data.getvalue())
    assert (texts(blocks), remarks(blocks)) == (["one", "three"], "")


@pytest.mark.parametrize("strength", [40, 128])
def test_a_file_with_an_owners_password_alone_is_read(strength: int) -> None:
    """RC4 and AES; every viewer opens it without asking."""
    data = BytesIO()
    canvas = Canvas(data, encrypt=StandardEncryption("", ownerPassword="owner", strength=strength))
    canvas.drawString(60, 700, "The boiler pressure is seventeen bar.")
    canvas.save()
    assert texts(blocks_of(data.getvalue())) == ["The boiler pressure is seventeen bar."]


def test_a_locked_file_is_left_out_with_the_reason() -> None:
    """It needs the user's password."""
    data = BytesIO()
    canvas = Canvas(data, encrypt=StandardEncryption("user", ownerPassword="owner", strength=128))
    canvas.drawString(60, 700, "secret")
    canvas.save()
    with pytest.raises(NotReadError, match="needs a password"):
        blocks_of(data.getvalue())


def _scanned(shown: Sequence[str]) -> bytes:
    """Write a PDF whose pages are pictures, but for those with a text that begins with `!`."""
    from PIL import Image, ImageDraw, ImageFont

    data = BytesIO()
    canvas = Canvas(data, pagesize=(595, 842))
    for text in shown:
        if text.startswith("!"):
            canvas.drawString(60, 700, text[1:])
        else:
            picture = Image.new("RGB", (1240, 1754), "white")
            ImageDraw.Draw(picture).text((120, 200), text, fill="black", font=ImageFont.load_default(48))
            canvas.drawInlineImage(picture, 0, 0, 595, 842)
        canvas.showPage()
    canvas.save()
    return data.getvalue()


def test_pages_that_are_pictures_are_named() -> None:
    """The others are read."""
    blocks = blocks_of(_scanned(["!one is read", "two", "three", "four", "!five is read"]), ocr="off")
    assert texts(blocks) == ["one is read", "five is read"]
    assert "pages 2, 3, 4 have no text" in remarks(blocks)


def test_a_file_of_pictures_alone_is_left_out() -> None:
    """The reason tells what helps."""
    with pytest.raises(SourceError, match="PDF without any text, perhaps a scan; left out"):
        blocks_of(_scanned(["one"]), ocr="off")


@pytest.mark.slow
@pytest.mark.skipif(not Recognition.is_installed(), reason="ocr is absent: it is an extra of some hundred megabytes")
def test_scanned_pages_and_pictures_are_recognised() -> None:
    """Their lines have places on the page."""
    from PIL import Image, ImageDraw, ImageFont

    blocks = blocks_of(_scanned(["!first page of text", "The boiler pressure is seventeen bar"]))
    assert any("boiler pressure is seventeen" in text for text in texts(blocks))
    assert remarks(blocks) == ""
    picture, data = Image.new("RGB", (900, 200), "white"), BytesIO()
    ImageDraw.Draw(picture).text((40, 60), "Room 12 is closed", fill="black", font=ImageFont.load_default(48))
    picture.save(data, "png")
    assert "Room 12 is closed" in str(blocks_of(data.getvalue(), "a.png"))


def test_pictures_without_the_extra_are_left_out_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """As scans are."""
    import sys

    monkeypatch.setitem(sys.modules, "rapidocr", None)
    Recognition.shared.cache_clear()
    with pytest.raises(NotReadError, match=r"pip install 'contextnexus\[ocr\]'"):
        blocks_of(b"\x89PNG\r\n\x1a\n", "a.png")


def test_pdf_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command that helps."""
    import sys

    monkeypatch.setitem(sys.modules, "pypdfium2.raw", None)
    with pytest.raises(NotReadError, match=r"pip install 'contextnexus\[pdf\]'"):
        blocks_of(WHOLE)


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.4\ngarbage",
        b"%PDF-1.4\n" + b"1 0 obj\n" * 50_000,
        b"%PDF-1.7\n" + b"<<" * 100_000,
        b"%PDF-1.7\n" + b"[" * 100_000,
    ],
    ids=["garbage", "objects", "dictionaries", "arrays"],
)
def test_what_cannot_be_read_says_why(data: bytes) -> None:
    """Whatever is behind the header."""
    with pytest.raises(SourceError, match="cannot be read"):
        blocks_of(data)


def test_a_tree_of_pages_that_leads_in_circles_ends() -> None:
    """Its root is its own child."""
    assert texts(blocks_of(pdf_of(["one"], kids="2 0 R 2 0 R 2 0 R"))) == []


def test_a_page_of_any_size_costs_what_is_on_it() -> None:
    """Boxes of millions of points, letters of a thousandth."""
    data = WHOLE.replace(b"[0 0 612 792]", b"[0 0 9e9 9e9]").replace(b"50 700 Td", b"5e8 7e8 Td")
    assert texts(blocks_of(data)) == TREES


@pytest.mark.slow
def test_reading_grows_with_the_pages() -> None:
    """Twice the pages, twice the time, whatever they hold."""

    def cost(pages: int) -> float:
        data = pdf_of([f"{number}. line of a page with words" for number in range(pages)])
        times = []
        for _ in range(3):
            began = process_time()
            blocks_of(data)
            times.append(process_time() - began)
        return min(times)

    cost(50)
    assert any(cost(1600) < 6 * cost(400) + 0.05 for _ in range(TRIES))


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["(a) Tj 0 -14 Td ", "(word) Tj 40 0 Td ", "(x) Tj 3 8 Td (-) Tj 0 -20 Td ", "(a   b) Tj T* "]
)
def test_reading_grows_with_what_is_on_a_page(piece: str) -> None:
    """Lines, cells, raised characters and hyphens: eight times as many cost less than sixteen times as much."""

    def cost(count: int) -> float:
        stream = re.escape("") + "14 TL " + piece * count
        data = pdf_of(["x) Tj " + stream + "(y"])
        times = []
        for _ in range(3):
            began = process_time()
            blocks_of(data)
            times.append(process_time() - began)
        return min(times)

    cost(50)
    assert any(cost(4000) < 16 * cost(500) + 0.1 for _ in range(TRIES))
