"""PDF into blocks: reading order, tables, headings, lists, ends of lines, notes, forms, labels."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from nexus_readers.pdf.hyphens import LineJoiner
from reportlab.pdfgen.canvas import Canvas

from nexus_core import Block, Code, Footnote, Heading, ListItem, PageBreak, Paragraph, Remark, Table
from nexus_core.toolkit import DocumentReader, FileOrigin, blocks_text
from tests.plugins.readers.generated import compare, document
from tests.plugins.readers.generated_pdf import MARKS, STYLES, pdf_of_tree, without_repeats


def blocks_of(data: bytes) -> list[Block]:
    """Return what is read of a PDF."""
    return list(DocumentReader().blocks(BytesIO(data), FileOrigin(name="a.pdf"))[1])


def drawn(draw: Callable[[Any], None]) -> list[Block]:
    """Return what is read of the pages that a function draws."""
    data = BytesIO()
    canvas = Canvas(data, pagesize=(595, 842))
    draw(canvas)
    canvas.save()
    return blocks_of(data.getvalue())


def lines(canvas: Any, texts: list[str], left: float = 60, top: float = 700, size: float = 12) -> None:
    """Draw lines below each other."""
    for number, text in enumerate(texts):
        canvas.setFont("Helvetica", size)
        canvas.drawString(left, top - number * 1.25 * size, text)


def paragraphs(blocks: list[Block]) -> list[str]:
    """Return the texts of the paragraphs."""
    return [block.text for block in blocks if isinstance(block, Paragraph)]


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_a_generated_document_comes_back(style: str) -> None:
    """Of its words 99 of 100 are in order, none twice, and each cell of a table with lines is in its place."""
    for seed in range(4):
        tree = document(seed, sections=12 if STYLES[style].running else 5, marks=MARKS)
        found = compare(without_repeats(blocks_of(pdf_of_tree(tree, STYLES[style]))), tree)
        assert (found.lost, found.twice, found.strangers) == ((), (), ())
        assert found.share >= 0.99
        if STYLES[style].lines:
            assert not [difference for difference in found.tables if ": caption" not in difference]


def test_columns_are_read_one_after_the_other() -> None:
    """The file draws the lines of both columns in turn, below a title over both."""

    def draw(canvas: Any) -> None:
        lines(canvas, ["A title that stands over both of the columns of this page"], top=760, size=20)
        for number in range(8):
            lines(canvas, [f"left line {number} goes on to the end of it"], 60, 700 - 15 * number)
            lines(canvas, [f"right line {number} goes on to the end of it"], 320, 700 - 15 * number)

    text = blocks_text(drawn(draw))
    assert text.index("left line 7") < text.index("right line 0")
    assert text.startswith("# A title that stands over both")


@pytest.mark.parametrize(
    ("cut", "joined"),
    [
        (["a state-of-the-", "art machine"], "a state-of-the-art machine"),
        (["price-", "determining"], "price-determining"),
        (["n-", "tridecanal"], "n-tridecanal"),
        (["please oper-", "ate it"], "please operate it"),
        (["from 2019-", "2020"], "from 2019-2020"),
        (["https://example.org/a-", "b/c"], "https://example.org/a-b/c"),
        (["https://example.org/", "guide"], "https://example.org/guide"),
        (["Donau-", "Kreis"], "Donau-Kreis"),
        (["Bundes-", "straße"], "Bundesstraße"),
        (["pre- and post-", "war"], "pre- and post-war"),
        (["pre-", "and post-war"], "pre- and post-war"),
        (["TX-", "40b"], "TX-40b"),
        (["it rained\u2014", "and stopped"], "it rained\u2014and stopped"),
        (["soft\u00ad", "ware"], "software"),
        (["人工", "智能"], "人工智能"),
        (["12", "kg"], "12 kg"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_hyphens_at_the_ends_of_lines_stay_where_they_belong_to_the_word(cut: list[str], joined: str) -> None:
    """A cut word is put together; a hyphen of its own, a range, an address stay as they are."""
    assert LineJoiner().join(cut) == joined


def test_the_words_of_the_document_tell_which_are_cut() -> None:
    """No dictionary knows these."""
    joiner = LineJoiner(lambda: ["the zibakel is a kelo-vani"])
    assert joiner.join(["one ziba-", "kel and one kelo-", "vani"]) == "one zibakel and one kelo-vani"


def test_raised_and_lowered_characters_are_marked() -> None:
    """10^6 is not 106."""

    def draw(canvas: Any) -> None:
        text = canvas.beginText(60, 700)
        for size, rise, shown in (
            (12, 0, "It holds 10"),
            (8, 5, "6"),
            (12, 0, " tons of H"),
            (8, -3, "2"),
            (12, 0, "O."),
        ):
            text.setFont("Helvetica", size)
            text.setRise(rise)
            text.textOut(shown)
        canvas.drawText(text)

    assert paragraphs(drawn(draw)) == ["It holds 10^6 tons of H_2O."]


def test_a_footnote_follows_the_paragraph_with_its_mark() -> None:
    """Its lines are at the foot of the page."""

    def draw(canvas: Any) -> None:
        text = canvas.beginText(60, 700)
        for size, rise, shown in ((12, 0, "The limit is 250"), (7, 5, "1"), (12, 0, " tons.")):
            text.setFont("Helvetica", size)
            text.setRise(rise)
            text.textOut(shown)
        canvas.drawText(text)
        lines(canvas, ["Another paragraph of the text stands here, and it is as long as a line."], top=660)
        note = canvas.beginText(60, 80)
        for size, rise, shown in ((6, 4, "1"), (9, 0, " By the act of 1999.")):
            note.setFont("Helvetica", size)
            note.setRise(rise)
            note.textOut(shown)
        canvas.drawText(note)

    first, note, second = [block for block in drawn(draw) if isinstance(block, Paragraph | Footnote)]
    assert isinstance(first, Paragraph)
    assert first.text == "The limit is 250[^1] tons."
    assert isinstance(note, Footnote)
    assert (note.mark, note.text) == ("1", "By the act of 1999.")
    assert isinstance(second, Paragraph)


def test_a_table_without_lines_is_told_by_its_columns() -> None:
    """The first row names columns of numbers."""

    def draw(canvas: Any) -> None:
        for row, cells in enumerate([("City", "Flats", "Rent"), ("Oslo", "12", "900"), ("Bern", "7", "1,100")]):
            for left, cell in zip((60, 200, 300), cells, strict=True):
                lines(canvas, [cell], left, 700 - 18 * row)

    [table] = [block for block in drawn(draw) if isinstance(block, Table)]
    assert table.header == ("City", "Flats", "Rent")
    assert table.rows == (("Oslo", "12", "900"), ("Bern", "7", "1,100"))
    assert table.place.page == 1


def test_form_values_and_notes_stand_beside_their_labels() -> None:
    """Text, choices and boxes; a field without a label has its own name."""

    def draw(canvas: Any) -> None:
        lines(canvas, ["Name:"], top=740)
        canvas.acroForm.textfield(name="name", x=120, y=732, width=200, height=20, value="Ada Lovelace")
        lines(canvas, ["City:"], top=700)
        canvas.acroForm.choice(name="city", x=120, y=692, width=200, height=20, value="Oslo", options=["Oslo", "Bern"])
        canvas.acroForm.checkbox(name="pets", x=60, y=660, size=16, checked=True)
        lines(canvas, ["Pets allowed"], 90, 664)
        canvas.acroForm.textfield(name="x", x=360, y=500, width=200, height=20, value="sunny", tooltip="Remark")
        canvas.textAnnotation("Check the rent.", Rect=[300, 300, 320, 320])

    assert paragraphs(drawn(draw)) == [
        "Name: Ada Lovelace", "City: Oslo", "[x] Pets allowed", "Remark: sunny", "[Note: Check the rent.]",
    ]  # fmt: skip


def test_a_link_is_written_with_its_target() -> None:
    """The address stands nowhere else."""

    def draw(canvas: Any) -> None:
        lines(canvas, ["Please fill in the form today."])
        canvas.linkURL("https://example.org/form-77", (60 + 65, 698, 60 + 127, 710))

    [text] = paragraphs(drawn(draw))
    assert "](https://example.org/form-77)" in text
    assert text.replace("[", "").replace("](https://example.org/form-77)", "") == "Please fill in the form today."


def test_running_lines_are_kept_once_and_page_numbers_left_out() -> None:
    """Numbers that are printed become the labels of the pages."""

    def draw(canvas: Any) -> None:
        for page in range(4):
            lines(canvas, ["Handbook of the house"], top=815, size=9)
            lines(canvas, [f"Text of page {page}."])
            lines(canvas, [f"Page {page + 7} of 12"], 280, 30, 9)
            canvas.showPage()

    blocks = drawn(draw)
    assert blocks_text(blocks).count("Handbook of the house") == 1
    assert [block.label for block in blocks if isinstance(block, PageBreak)] == ["7", "8", "9", "10"]
    assert [text for text in paragraphs(blocks) if "Page" in text] == []
    assert sum("Text of page" in text for text in paragraphs(blocks)) == 4


def test_a_line_that_differs_on_each_page_is_no_running_line() -> None:
    """Its numbers are none of pages."""

    def draw(canvas: Any) -> None:
        for total in (17, 93, 45, 61):
            lines(canvas, [f"Invoice of {total} crowns"], top=815)
            lines(canvas, ["Paid."])
            canvas.showPage()

    text = blocks_text(drawn(draw))
    assert [total for total in (17, 93, 45, 61) if f"Invoice of {total} crowns" not in text] == []


def test_headings_are_told_by_the_outline() -> None:
    """Its titles have the size of the text; what no line shows is a heading that is implied."""

    def draw(canvas: Any) -> None:
        lines(canvas, ["Preface."], top=760)
        for title, level, top in (("One", 0, 700), ("Two", 1, 500)):
            lines(canvas, [title], top=top)
            lines(canvas, [f"About {title.lower()}."], top=top - 40)
            canvas.bookmarkPage(title, fit="XYZ", top=top + 14)
            canvas.addOutlineEntry(title, title, level)
        canvas.bookmarkPage("x", fit="XYZ", top=300)
        canvas.addOutlineEntry("Beyond", "x", 0)
        lines(canvas, ["Last words."], top=260)

    blocks = [block for block in drawn(draw) if isinstance(block, Heading | Paragraph)]
    assert [(block.level, block.implied) for block in blocks if isinstance(block, Heading)] == [
        (1, False), (2, False), (1, True),
    ]  # fmt: skip
    assert [block.text for block in blocks] == [
        "Preface.", "One", "About one.", "Two", "About two.", "Beyond", "Last words.",
    ]  # fmt: skip


def test_list_items_and_code_keep_their_form() -> None:
    """Bullets and numbers are markers, deeper items are deeper, and code keeps its lines and how they are indented."""

    def draw(canvas: Any) -> None:
        lines(canvas, ["• first item of the list", "• second item"])
        lines(canvas, ["1. inner one", "2. inner two"], 90, 668)
        canvas.setFont("Courier", 10)
        for number, text in enumerate(["def f(x):", "    if x:", "        return 1"]):
            canvas.drawString(60 + 6 * (len(text) - len(text.lstrip())), 600 - 12 * number, text.lstrip())

    blocks = drawn(draw)
    items = [(block.marker, block.depth, block.text) for block in blocks if isinstance(block, ListItem)]
    assert items == [
        ("-", 1, "first item of the list"), ("-", 1, "second item"), ("1.", 2, "inner one"), ("2.", 2, "inner two"),
    ]  # fmt: skip
    assert [block.text for block in blocks if isinstance(block, Code)] == ["def f(x):\n    if x:\n        return 1"]


@pytest.mark.parametrize("title", ["Microsoft Word - draft_v3_FINAL.docx", "untitled", "C:\\x\\y.indd", "(anonymous)"])
def test_a_title_that_a_program_wrote_names_no_item(title: str) -> None:
    """The first heading does."""
    data = BytesIO()
    canvas = Canvas(data, pagesize=(595, 842))
    canvas.setTitle(title)
    lines(canvas, ["Guide to the well"], top=760, size=20)
    lines(canvas, ["Pump it daily, and close the lid when it rains."])
    canvas.save()
    [item] = DocumentReader().items(BytesIO(data.getvalue()), FileOrigin(name="well.pdf")).items
    assert item.title == "Guide to the well"
    assert item.metadata["page"] == 1


def test_a_block_tells_its_page_and_box() -> None:
    """In points from the upper left corner."""
    [block] = [each for each in drawn(lambda canvas: lines(canvas, ["Here."])) if isinstance(each, Paragraph)]
    assert block.place.page == 1
    assert block.place.box is not None
    left, top, right, bottom = block.place.box
    assert (round(left), round(top), round(bottom)) == (60, 133, 145)
    assert 85 < right < 95
    assert not [each for each in drawn(lambda canvas: lines(canvas, ["Here."])) if isinstance(each, Remark)]
