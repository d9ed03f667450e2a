"""RTF: text in every encoding, headings, lists, tables, notes; nothing of pictures and tables of fonts."""

from __future__ import annotations

import pytest

from nexus_core import Block, Code, Footnote, Heading, ListItem, Metadata, Paragraph, Table
from tests.plugins.readers.office.office_files import content, read, texts

HEAD = (
    rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\fcharset204 Arial CYR;}"
    rb"{\f2\fcharset128 MS Gothic;}{\f3\fmodern Courier New;}}"
    rb"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}{\s5 Title;}}{\colortbl;\red0\green0\blue0;}"
)


def blocks_of(body: bytes) -> list[Block]:
    return read(HEAD + body + b"}", "a.rtf")


def test_rtf_decodes_characters_of_each_font() -> None:
    """Bytes are in the encoding of their font; Unicode characters replace what stands after them."""
    body = (
        rb"caf\'e9 \u8364?5 {\f1 \'cc\'ee\'f1\'ea\'e2\'e0} {\f2 \'93\'fa\'96\'7b}"
        rb" \u-10179?\u-8704? \uc2 \u233 ee\uc0 \u233 \ldblquote x\rdblquote\par"
    )
    assert texts(blocks_of(body)) == ["café €5 Москва 日本 😀 éé“x”"]


def test_rtf_makes_headings_lists_and_code() -> None:
    """By the outline of styles and paragraphs, the numbers that are shown, and the font."""
    body = (
        rb"{\info{\title Handbook}{\author Ada}}\pard\s1 Leave\par\pard\outlinelevel1 Sick\par"
        rb"\pard{\listtext\pard\f0 2.\tab}\ls1\ilvl1 second\par\pard{\pntext\'B7\tab}dot\par"
        rb"\pard{\f3 def f():\par     return 1\par}\pard plain\par"
    )
    found = blocks_of(body)
    assert isinstance(found[0], Metadata)
    assert (found[0].title, found[0].author) == ("Handbook", "Ada")
    assert [(block.level, block.text) for block in found if isinstance(block, Heading)] == [(1, "Leave"), (2, "Sick")]
    items = [(block.depth, block.marker, block.text) for block in found if isinstance(block, ListItem)]
    assert items == [(2, "2.", "second"), (1, "-", "dot")]
    assert [block.text for block in found if isinstance(block, Code)] == ["def f():\n    return 1"]


def test_rtf_reads_tables_cell_by_cell() -> None:
    """Merged cells stand in each place; a header row is one where the file says so."""
    row = rb"\trowd%s\cellx100\cellx200\cellx300\pard\intbl %s\cell %s\cell %s\cell\row"
    merged = rb"\trowd\clvmrg\cellx100\clmgf\cellx200\clmrg\cellx300\intbl\cell 9\par 10\cell\cell\row"
    body = row % (rb"\trhdr", b"Year", b"Oslo", b"Rome") + row % (b"", b"2025", b"7", b"8") + merged + rb"\pard End\par"
    table, end = content(blocks_of(body))
    assert isinstance(table, Table)
    assert (table.header, table.rows) == (("Year", "Oslo", "Rome"), (("2025", "7", "8"), ("2025", "9 10", "9 10")))
    assert isinstance(end, Paragraph)


def test_rtf_reads_notes_links_and_looks() -> None:
    """Hidden and deleted text, pictures, headers and instructions of fields are out."""
    body = (
        rb"{\header Head\par}Free{\super\chftn}{\footnote\pard {\super\chftn} For staff.}, "
        rb'{\field{\*\fldinst {HYPERLINK "https://example.org/f77"}}{\fldrslt {the form}}}'
        rb", 10{\super 6}{\v hidden}{\deleted gone}{\strike 80}"
        rb"{\*\shppict{\pict\pngblip 89504e47}}{\*\bkmkstart x}\par{\field{\*\fldinst PAGE}{\fldrslt 7}}\par"
    )
    found = content(blocks_of(body))
    assert found[0].text == "Free[^1], [the form](https://example.org/f77), 10^6~~80~~"  # type: ignore[attr-defined]
    assert isinstance(found[1], Footnote)
    assert found[1].text == "For staff."
    assert len(found) == 2


def test_rtf_passes_over_binary_data() -> None:
    """What looks like groups in it is none."""
    assert texts(blocks_of(rb"a{\pict\bin8 {{{{}}}\x}b\par")) == ["ab"]


@pytest.mark.parametrize("body", [b"{" * 5, rb"\u99999 ?x\par", rb"\'zz x\par", b"\\", rb"}}}} x\par", rb"\cell\row x"])
def test_rtf_survives_what_is_broken(body: bytes) -> None:
    """Whatever is in the file, reading ends, and text that is there is read."""
    assert "x" not in body.decode() or "x" in " ".join(texts(read(HEAD + body, "a.rtf")))
