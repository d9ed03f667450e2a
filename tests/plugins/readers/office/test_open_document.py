"""OpenDocument texts and presentations."""

from __future__ import annotations

from nexus_core import Block, Code, Figure, Footnote, Formula, Heading, ListItem, Metadata, PageBreak, Paragraph
from tests.plugins.readers.office.office_files import ODF, content, open_document, read, remarks, texts


def blocks_of(body: str, automatic: str = "", **parts: str) -> list[Block]:
    return read(open_document(body, "text", automatic, **parts), "a.odt")


def style(name: str, properties: str, family: str = "text", above: str = "") -> str:
    parent = f' style:parent-style-name="{above}"' if above else ""
    return f'<style:style style:name="{name}" style:family="{family}"{parent}>{properties}</style:style>'


def test_odt_tells_levels_titles_and_metadata() -> None:
    """A paragraph in the style of titles is the first heading, those below are one level deeper."""
    told = "<dc:title>Handbook</dc:title><dc:language>de-AT</dc:language><meta:keyword>leave</meta:keyword>"
    meta = f"<office:document-meta {ODF}><office:meta>{told}</office:meta></office:document-meta>"
    body = '<text:p text:style-name="T1">Staff</text:p><text:h text:outline-level="2">Sick</text:h>'
    metadata, *found = blocks_of(body, style("T1", "", "paragraph", "Title"), meta=meta)
    assert isinstance(metadata, Metadata)
    assert (metadata.title, metadata.language, metadata.tags) == ("Handbook", "de-AT", ("leave",))
    assert [(block.level, block.text) for block in found if isinstance(block, Heading)] == [(1, "Staff"), (3, "Sick")]


def test_odt_numbers_lists_as_shown() -> None:
    """Numbers show as many levels as their style says, start where it says and go on where the list does."""
    levels = (
        '<text:list-level-style-number text:level="1" style:num-format="1" style:num-suffix="." text:start-value="3"/>'
        '<text:list-level-style-number text:level="2" style:num-format="a" text:display-levels="2"/>'
    )
    item = "<text:list-item><text:p>{}</text:p>{}</text:list-item>"
    inner = f"<text:list>{item.format('deep', '')}</text:list>"
    body = f'<text:list text:style-name="L">{item.format("one", "")}{item.format("two", inner)}</text:list>'
    body += f'<text:list text:style-name="L" text:continue-numbering="true">{item.format("three", "")}</text:list>'
    found = blocks_of(body, f'<text:list-style style:name="L">{levels}</text:list-style>')
    items = [(block.marker, block.depth, block.text) for block in found if isinstance(block, ListItem)]
    assert items == [("3.", 1, "one"), ("4.", 1, "two"), ("4.a", 2, "deep"), ("5.", 1, "three")]


def test_odt_leaves_deleted_text_and_contents_out() -> None:
    """Deletions stand beside the text; a table of contents repeats the headings."""
    body = (
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>gone</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes><text:table-of-content><text:index-body><text:p>Leave 3</text:p>"
        "</text:index-body></text:table-of-content><text:p>kept <text:change-start/>new<text:change-end/></text:p>"
        '<text:section text:display="none"><text:p>hidden</text:p></text:section>'
        "<text:section><text:p>Page <text:page-number>3</text:page-number>seen</text:p></text:section>"
    )
    assert texts(blocks_of(body)) == ["kept new", "Page seen"]


def test_odt_reads_notes_links_frames_and_comments() -> None:
    """Each comes after the paragraph that it belongs to; pictures by what is written about them."""
    note = "<text:note-body><text:p>Staff only.</text:p></text:note-body>"
    box = "<draw:text-box><text:p>boxed</text:p></draw:text-box>"
    picture = '<draw:image xlink:href="a.png"/>'
    frames = (box, f"{picture}<svg:desc>Plan</svg:desc>", picture)
    body = (
        f'<text:p>Free<text:note text:note-class="footnote">{note}</text:note>'
        ' <text:a xlink:href="https://example.org/f">form</text:a>'
        "<office:annotation><dc:creator>Bob</dc:creator><text:p>Sure?</text:p></office:annotation>"
        + "".join(f"<draw:frame>{frame}</draw:frame>" for frame in frames)
        + "</text:p>"
    )
    found = blocks_of(body)
    kinds = [(type(block), block.text) for block in content(found)]  # type: ignore[attr-defined]
    assert kinds == [
        (Paragraph, "Free[^1] [form](https://example.org/f)"),
        (Footnote, "Staff only."),
        (Paragraph, "Comment by Bob: Sure?"),
        (Paragraph, "boxed"),
        (Figure, "Plan"),
    ]
    assert remarks(found) == ["1 picture has no alternative text"]


def test_odt_reads_code_formulas_and_looks() -> None:
    """A formula says what its author typed; lines of code keep their blanks."""
    math = '<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>x</mi><annotation>a over b</annotation></math>'
    body = (
        '<text:p text:style-name="Preformatted_20_Text">if x:</text:p>'
        '<text:p text:style-name="Preformatted_20_Text"><text:s text:c="4"/>go()</text:p>'
        f"<text:p>10<text:span text:style-name='up'>6</text:span></text:p>"
        f"<text:p><draw:frame><draw:object>{math}</draw:object></draw:frame></text:p>"
    )
    found = content(blocks_of(body, style("up", '<style:text-properties style:text-position="super 58%"/>')))
    assert isinstance(found[0], Code)
    assert found[0].text == "if x:\n    go()"
    assert found[1].text == "10^6"  # type: ignore[attr-defined]
    assert isinstance(found[2], Formula)
    assert (found[2].text, found[2].notation) == ("a over b", "text")


def test_odt_counts_pages_where_the_file_tells_them() -> None:
    """LibreOffice keeps where its pages ended."""
    body = "<text:p>one</text:p><text:soft-page-break/><text:p>two<text:soft-page-break/> still</text:p>"
    body += "<text:p>three</text:p>"
    found = content(blocks_of(body))
    assert [block.number for block in found if isinstance(block, PageBreak)] == [1, 2, 3]
    assert [block.place.page for block in found if isinstance(block, Paragraph)] == [1, 2, 3]


def test_odp_makes_each_slide_a_page() -> None:
    """With its title, notes under a heading of their own, hidden slides told."""
    frame = '<draw:frame presentation:class="{}"><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>'
    notes = f"<presentation:notes>{frame.format('notes', 'Thank Graz.')}</presentation:notes>"
    body = f"<draw:page>{frame.format('title', 'Results')}{frame.format('outline', 'up')}{notes}</draw:page>"
    body += f'<draw:page draw:style-name="h">{frame.format("title", "Old")}</draw:page>'
    hidden = style("h", '<style:drawing-page-properties presentation:visibility="hidden"/>', "drawing-page")
    found = read(open_document(body, "presentation", hidden), "a.odp")
    assert texts(found) == ["Results", "up", "Notes", "Thank Graz."]
    assert [block.place.page for block in found if isinstance(block, Heading)] == [1, 1]
    assert remarks(found) == ["slide 2 is hidden; left out (read it with `hidden: true`)"]
