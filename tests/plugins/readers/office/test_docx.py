"""Word files: what Word shows comes back as blocks, in order, each word once."""

from __future__ import annotations

from io import BytesIO

import docx as python_docx
import pytest

from nexus_core import (
    Block,
    Code,
    Figure,
    Footnote,
    Formula,
    Heading,
    ListItem,
    Metadata,
    PageBreak,
    Paragraph,
    Quotation,
    Table,
)
from tests.plugins.readers.office.office_files import R, W, content, docx, read, remarks, texts


def blocks_of(body: str, *related: tuple[str, str, str], **parts: str) -> list[Block]:
    return read(docx(body, *related, **parts), "a.docx")


def paragraph(*runs: str, style: str = "", properties: str = "") -> str:
    styled = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{styled}{properties}</w:pPr>{''.join(runs)}</w:p>"


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def field(code: str, result: str) -> str:
    begin, separate, end = (f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>' for kind in ("begin", "separate", "end"))
    return f"{begin}<w:r><w:instrText>{code}</w:instrText></w:r>{separate}{run(result)}{end}"


def test_docx_of_a_library_has_headings_lists_and_tables() -> None:
    """A title stands above the headings; lists tell their marks and depth; merged cells stand in each place."""
    document = python_docx.Document()
    document.core_properties.title, document.core_properties.author = "Handbook", "Ada"
    document.add_heading("Staff handbook", 0)
    document.add_heading("Leave", 1)
    document.add_paragraph("first", style="List Number")
    document.add_paragraph("second", style="List Number")
    document.add_paragraph("inner", style="List Bullet 2")
    table = document.add_table(3, 3)
    for at, text in enumerate("Year City Rooms 2025 Oslo 7 2025 Bergen 9".split()):
        table.cell(at // 3, at % 3).text = text if (at // 3, at % 3) != (2, 0) else ""
    table.cell(1, 0).merge(table.cell(2, 0))
    file = BytesIO()
    document.save(file)
    metadata, *found = read(file.getvalue(), "a.docx")
    assert isinstance(metadata, Metadata)
    assert (metadata.title, metadata.author) == ("Handbook", "Ada")
    headings = [(block.level, block.text) for block in found if isinstance(block, Heading)]
    assert headings == [(1, "Staff handbook"), (2, "Leave")]
    items = [(block.depth, block.marker, block.text) for block in found if isinstance(block, ListItem)]
    assert items == [(1, "1.", "first"), (1, "2.", "second"), (2, "-", "inner")]
    (read_table,) = [block for block in found if isinstance(block, Table)]
    assert read_table.header == ("Year", "City", "Rooms")
    assert read_table.rows == (("2025", "Oslo", "7"), ("2025", "Bergen", "9"))


def test_docx_takes_inserted_text_and_leaves_deleted() -> None:
    """What holds is the text with its changes accepted."""
    body = paragraph(
        run("Fee: "),
        '<w:del w:id="1"><w:r><w:delText>40</w:delText></w:r></w:del>',
        f'<w:ins w:id="2">{run("50")}</w:ins>',
    )
    assert texts(blocks_of(body)) == ["Fee: 50"]


def test_docx_tells_raised_lowered_and_struck_text() -> None:
    """10 to the sixth is not 106; `1st` stays one word."""
    raised, lowered = '<w:vertAlign w:val="superscript"/>', '<w:vertAlign w:val="subscript"/>'
    body = paragraph(run("10"), run("6", raised), run(" H"), run("2", lowered), run("O 1"), run("st", raised))
    body += paragraph(run("80", "<w:strike/>"), run(" 50"))
    assert texts(blocks_of(body)) == ["10^6 H_2O 1st", "~~80~~ 50"]


def test_docx_resolves_links_and_fields() -> None:
    """Targets of links are in the text; numbers of pages and tables of contents are not."""
    body = paragraph(f'<w:hyperlink r:id="h1">{run("the form")}</w:hyperlink>')
    body += paragraph(field('HYPERLINK "https://example.org/b"', "other form"))
    body += paragraph(run("See "), field("REF x", "Section 4"), run(", page "), field("PAGEREF x", "17"))
    body += paragraph('<w:r><w:fldChar w:fldCharType="begin"/></w:r>', "<w:r><w:instrText>TOC</w:instrText></w:r>")
    body += paragraph(run("kept")) + paragraph(field('TOC \\o "1-3"', "Leave 3"))
    found = blocks_of(body, ("h1", "hyperlink", "https://example.org/form-77"))
    assert texts(found) == [
        "[the form](https://example.org/form-77)",
        "[other form](https://example.org/b)",
        "See Section 4, page",
        "kept",
    ]
    assert isinstance(found[1], Paragraph)
    assert found[1].links == ("https://example.org/form-77",)


def test_docx_puts_notes_after_their_paragraph() -> None:
    """Footnotes and endnotes are counted each by itself; comments tell who wrote them."""
    note = '<w:r><w:{0}Reference w:id="2"/></w:r>'
    body = paragraph(run("Free"), note.format("footnote"), run(" for staff"), note.format("endnote"))
    body += paragraph(run("Checked"), '<w:r><w:commentReference w:id="5"/></w:r>') + paragraph(run("End"))
    parts = {
        f"{name}s": f'<w:{name}s {W}><w:{name} w:id="2">{paragraph(run(f"The {name}."))}</w:{name}></w:{name}s>'
        for name in ("footnote", "endnote")
    }
    comments = f'<w:comments {W}><w:comment w:id="5" w:author="Bob">{paragraph(run("Sure?"))}</w:comment></w:comments>'
    found = content(blocks_of(body, **parts, comments=comments))
    assert list(zip(map(type, found), texts(found), strict=True)) == [
        (Paragraph, "Free[^1] for staff[^i]"),
        (Footnote, "The footnote."),
        (Footnote, "The endnote."),
        (Paragraph, "Checked"),
        (Paragraph, "Comment by Bob: Sure?"),
        (Paragraph, "End"),
    ]


def test_docx_reads_text_boxes_once() -> None:
    """A box is written twice in the file, for old and new programs."""
    box = f"<w:txbxContent>{paragraph(run('In the box'))}</w:txbxContent>"
    body = paragraph(
        run("Before"),
        "<w:r><mc:AlternateContent xmlns:mc='mc'><mc:Choice Requires='wps'>"
        f"<w:drawing>{box}</w:drawing></mc:Choice><mc:Fallback><w:pict>{box}</w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r>",
    )
    assert texts(blocks_of(body)) == ["Before", "In the box"]


def test_docx_writes_formulas_as_tex() -> None:
    """A formula alone is one; in a sentence it stays in its place."""
    fraction = (
        "<m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:sSup><m:e><m:r><m:t>b</m:t></m:r></m:e>"
        "<m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:den></m:f></m:oMath>"
    )
    found = content(blocks_of(paragraph(run("It is "), fraction, run(" always")) + paragraph(fraction)))
    assert found[0].text == r"It is $\frac{a}{b^{2}}$ always"  # type: ignore[attr-defined]
    assert isinstance(found[1], Formula)
    assert found[1].text == r"\frac{a}{b^{2}}"


def test_docx_joins_lines_of_code() -> None:
    """Paragraphs in a style for code are lines of one block, their blanks kept."""
    styles = (
        f'<w:styles {W}><w:style w:type="paragraph" w:styleId="SC"><w:name w:val="Source Code"/></w:style>'
        '<w:style w:type="paragraph" w:styleId="Q"><w:name w:val="Quote"/></w:style></w:styles>'
    )
    body = paragraph(run("def f():"), style="SC") + paragraph(run("    return 1"), style="SC")
    body += paragraph(run("Said."), style="Q") + paragraph(run("run "), run("make", '<w:rFonts w:ascii="Consolas"/>'))
    found = content(blocks_of(body, styles=styles))
    assert isinstance(found[0], Code)
    assert found[0].text == "def f():\n    return 1"
    assert isinstance(found[1], Quotation)
    assert found[2].text == "run `make`"  # type: ignore[attr-defined]


def test_docx_numbers_headings_and_lists_as_shown() -> None:
    """`1.2` before a heading is a part of what people cite."""
    numbering = (
        f'<w:numbering {W}><w:abstractNum w:abstractNumId="0">'
        '<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1"/></w:lvl>'
        '<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1.%2"/></w:lvl>'
        '</w:abstractNum><w:num w:numId="4"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
    )

    def heading(text: str, level: int) -> str:
        number = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="4"/></w:numPr>'
        return paragraph(run(text), properties=f'{number}<w:outlineLvl w:val="{level}"/>')

    found = blocks_of(heading("Leave", 0) + heading("Sick", 1) + heading("Other", 1), numbering=numbering)
    headings = [(block.level, block.text) for block in found if isinstance(block, Heading)]
    assert headings == [(1, "1 Leave"), (2, "1.1 Sick"), (2, "1.2 Other")]


def test_docx_counts_pages_where_the_file_tells_them() -> None:
    """Where Word has last ended its pages is where they end; without a word of it no page is told."""
    ends = "<w:r><w:lastRenderedPageBreak/></w:r>"
    found = content(
        blocks_of(paragraph(run("one")) + paragraph(ends, run("two")) + paragraph(run("still"), ends, run(" two")))
    )
    assert [block.number for block in found if isinstance(block, PageBreak)] == [1, 2, 3]
    assert [block.place.page for block in found if isinstance(block, Paragraph)] == [1, 2, 2]
    assert not any(isinstance(block, PageBreak) for block in blocks_of(paragraph(run("one"))))


def test_docx_reports_pictures_without_text() -> None:
    """One with alternative text is a figure; others are counted."""
    picture = "<w:r><w:drawing><a:docPr xmlns:a='a' id='1' {0}/><a:blip xmlns:a='a'/></w:drawing></w:r>"
    found = blocks_of(paragraph(picture.format("descr='Plan of the 3rd floor'")) + paragraph(picture.format("")))
    assert [block.text for block in found if isinstance(block, Figure)] == ["Plan of the 3rd floor"]
    assert remarks(found) == ["1 picture has no alternative text"]


def test_docx_tells_headers_and_footers_once() -> None:
    """They come before the text, without numbers of pages, and not what the text says itself."""
    parts = {
        "header": f"<w:hdr {W} {R}>{paragraph(run('Version 3.2, confidential'))}{paragraph(run('Leave'))}</w:hdr>",
        "footer": f"<w:ftr {W} {R}>{paragraph(run('Page '), field('PAGE', '1'))}</w:ftr>",
    }
    body = paragraph(run("Leave"), properties='<w:outlineLvl w:val="0"/>') + paragraph(run("text"))
    assert texts(blocks_of(body, **parts)) == ["Version 3.2, confidential", "Leave", "text"]


def table(*rows: str) -> str:
    cells = [[f"<w:tc>{paragraph(run(cell))}</w:tc>" for cell in row.split("|")] for row in rows]
    return "<w:tbl>" + "".join(f"<w:tr>{''.join(row)}</w:tr>" for row in cells) + "</w:tbl>"


@pytest.mark.parametrize(
    ("rows", "header"),
    [(("Name|Ada", "Room|12", "City|Oslo"), ()), (("Name|Room", "Ada|12"), ("Name", "Room"))],
    ids=["values", "columns"],
)
def test_docx_takes_a_first_row_for_a_header_only_where_it_is(rows: tuple[str, ...], header: tuple[str, ...]) -> None:
    """Names beside their values are no columns."""
    (found,) = content(blocks_of(table(*rows)))
    assert isinstance(found, Table)
    assert found.header == header


def test_docx_reads_the_points_of_a_diagram() -> None:
    """SmartArt keeps them in a part of its own, each under the one that it belongs to."""
    point = '<d:pt modelId="{0}" type="{1}"><d:t><a:p><a:r><a:t>{2}</a:t></a:r></a:p></d:t></d:pt>'
    points = point.format(0, "doc", "") + point.format(1, "node", "Plan") + point.format(2, "node", "Budget")
    links = '<d:cxn srcId="0" destId="1"/><d:cxn srcId="1" destId="2"/>'
    data = f'<d:dataModel xmlns:d="d" xmlns:a="a"><d:ptLst>{points}</d:ptLst><d:cxnLst>{links}</d:cxnLst></d:dataModel>'
    drawing = '<w:r><w:drawing><d:relIds xmlns:d="d" r:dm="m1"/></w:drawing></w:r>'
    found = content(blocks_of(paragraph(drawing), ("m1", "diagramData", "data.xml"), data=data))
    assert [(block.text, block.depth) for block in found if isinstance(block, ListItem)] == [("Plan", 1), ("Budget", 2)]
