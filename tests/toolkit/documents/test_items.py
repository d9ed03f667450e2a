"""From blocks to items: titles, sections, parts, pages, rows and kinds are made in one place, whatever the format."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import (
    Block,
    Code,
    Footnote,
    Heading,
    Item,
    ListItem,
    Metadata,
    PageBreak,
    Paragraph,
    Place,
    Remark,
    Table,
)
from nexus_core.toolkit.documents.block_text import block_text
from nexus_core.toolkit.documents.citation_place import place_of
from nexus_core.toolkit.documents.items import DocumentName, ItemMaker, sensible_title

LONG = "One sentence of a long text stands here. " * 40


def items_of(*blocks: Block, name: str = "docs/a.x", links: bool = False) -> list[Item]:
    return list(maker(name, links=links).items(blocks))


def maker(name: str = "docs/a.x", *, links: bool = False) -> ItemMaker:
    return ItemMaker(document=DocumentName(name=name, modified_ns=0), links=links)


def test_short_document_is_one_item_without_its_title() -> None:
    """The first heading is the title; the others stay in the text."""
    (item,) = items_of(Heading(text="Leave"), Paragraph(text="28 days."), Heading(text="Sick", level=2))
    assert (item.id, item.title, item.text) == ("docs/a.x", "Leave", "28 days.\n\n## Sick")


def test_long_document_is_an_item_for_each_section() -> None:
    """Titles are paths of headings, ids their anchors, and the line is that of the heading."""
    found = items_of(
        Heading(text="Guide", place=Place(line=1)),
        Paragraph(text=LONG),
        Heading(text="Sick leave?", level=2, place=Place(line=9)),
        Paragraph(text="Tell us.", place=Place(line=10)),
        Heading(text="Empty", level=2),
    )
    assert [item.title for item in found] == ["Guide", "Guide > Sick leave?", "Guide > Empty"]
    assert [item.id for item in found] == ["docs/a.x#guide", "docs/a.x#sick-leave", "docs/a.x#empty"]
    assert (found[1].metadata["line"], found[1].metadata["headings"]) == (9, ["Guide", "Sick leave?"])
    assert found[2].text == "Empty"


@pytest.mark.parametrize(
    ("blocks", "kind"),
    [
        ([Paragraph(text="a"), Paragraph(text="b")], "text"),
        ([Paragraph(text="a"), ListItem(text="b")], "markdown"),
        ([Heading(text="f", implied=True), Code(text="def f(): ...")], "code"),
        ([Heading(text="f"), Heading(text="g"), Code(text="pip")], "markdown"),
    ],
)
def test_kind_comes_from_the_blocks(blocks: list[Block], kind: str) -> None:
    """Nothing but code is code, nothing but paragraphs is text."""
    assert [item.kind for item in items_of(*blocks)] == [kind]


def test_parts_of_a_table_carry_its_columns_and_rows() -> None:
    """Each part can be read alone: each row names its columns, the title tells which rows, none comes twice."""
    rows = tuple((f"Ada {n}", f"room {n}", "a long remark about nothing " * 2) for n in range(400))
    found = items_of(Table(rows=rows, header=("Name", "Room", "Remark"), place=Place(row=2)))
    assert len(found) > 5
    assert all(line.startswith("- Name: Ada ") for item in found for line in item.text.split("\n"))
    assert [line for item in found for line in item.text.split("\n")][399].startswith("- Name: Ada 399; Room: room 399")
    first, last = found[1].metadata["rows"]
    assert found[1].title == f"a.x (rows {first} to {last})"
    assert f"Name: Ada {first - 2};" in found[1].text


def test_pages_are_items_of_their_own() -> None:
    """A citation tells the page exactly, by its label where it is printed otherwise."""
    found = items_of(
        PageBreak(number=1, label="i"), Paragraph(text="Preface."), PageBreak(number=2, label="1"), Paragraph(text=LONG)
    )
    assert [(item.metadata["page"], item.title) for item in found] == [(1, "a.x (page i)"), (2, "a.x (page 1)")]
    assert [item.id for item in found] == ["docs/a.x#page-1", "docs/a.x#page-2"]


def test_break_after_the_last_word_begins_no_page_of_a_section() -> None:
    """What ends with its page is cited with that page alone."""
    found = items_of(
        PageBreak(number=1), Heading(text="Rules", level=1), Paragraph(text=LONG), PageBreak(number=2),
        Heading(text="Fees", level=1), Paragraph(text=LONG), PageBreak(number=3),
    )  # fmt: skip
    assert [(item.metadata["page"], item.metadata.get("last_page")) for item in found] == [(1, None), (2, None)]


def test_section_over_several_pages_is_cut_at_pages() -> None:
    """A long section is not cited with the page on which it began."""
    found = items_of(
        PageBreak(number=1), Heading(text="Rules", level=1), Paragraph(text=LONG), PageBreak(number=2),
        Paragraph(text="The fee is 40."),
    )  # fmt: skip
    assert [(item.metadata["page"], item.title) for item in found] == [(1, "Rules (page 1)"), (2, "Rules (page 2)")]


def test_one_long_line_is_cut_into_items_that_a_person_can_open() -> None:
    """A transcript of 300 kB on one line comes in parts of some thousand characters, whole words each."""
    found = items_of(Paragraph(text="word another " * 23_000))
    assert max(len(item.text) for item in found) < 8_000
    assert sum(len(item.text.split()) for item in found) == 46_000


@pytest.mark.parametrize("joined", [False, True], ids=["lines as in the file", "lines joined"])
def test_parts_of_a_paragraph_tell_their_own_lines(joined: bool) -> None:
    """A citation leads to the line that the part begins with; where lines were joined, to that of the paragraph."""
    lines = [f"Sentence {number} of a text without a blank line." for number in range(1, 400)]
    text = (" " if joined else "\n").join(lines)
    parts = items_of(Paragraph(text=text, place=Place(line=3, last_line=401)))
    assert len(parts) > 2
    begun = [int(part.text.split()[1]) for part in parts]
    assert [part.metadata["line"] for part in parts] == ([3] * len(parts) if joined else [2 + at for at in begun])


def test_notes_stay_with_what_they_belong_to() -> None:
    """A note is never the beginning of a part."""
    blocks: list[Block] = []
    for number in range(60):
        blocks += [Paragraph(text=f"{'Word ' * 30}[^{number}]"), Footnote(mark=str(number), text=f"Note {number}.")]
    for item in items_of(*blocks):
        assert not item.text.startswith("[^")
        assert item.text.count("[^") % 2 == 0


@pytest.mark.parametrize(
    "title",
    ["Microsoft Word - draft_v3_FINAL.docx", "untitled", "Untitled-1", "C:\\Users\\me\\x", "a.pdf", "--", "Slide 1"],
)
def test_titles_that_programs_write_are_none(title: str) -> None:
    """The item is called by its first heading or its file then."""
    assert sensible_title(title) == ""
    assert items_of(Metadata(title=title), Paragraph(text="x"))[0].title == "a.x"


def test_metadata_of_document_and_headings_comes_with_each_item() -> None:
    """What a mail's heading tells is told with its items and not with those of the next mail."""
    found = items_of(
        Metadata(title="Box", author="Ada", language="de", tags=("t",), values={"team": "x"}),
        Heading(text="One", values={"from": "a@b"}), Paragraph(text=LONG),
        Heading(text="Two"), Paragraph(text="End."),
    )  # fmt: skip
    assert [item.metadata.get("from") for item in found] == ["a@b", None]
    assert {item.metadata["team"] for item in found} == {"x"}
    assert {item.metadata["author"] for item in found} == {"Ada"}
    assert found[0].tags == ("t",)


def test_remarks_are_no_text() -> None:
    """They are collected, each once, and at most some."""
    made = maker()
    assert not list(made.items([Remark(text=f"page {n % 300} is lost", lost=True) for n in range(900)]))
    assert len(made.remarks) == 200


def test_links_are_told_where_they_are_asked_for() -> None:
    """Those of the blocks, and those in Markdown."""
    blocks = [Paragraph(text="See [b](b.md#x).", links=("c.md",)), Table(rows=(("[d](d.md)",),))]
    assert items_of(*blocks, links=True)[0].metadata["links"] == ["docs/c.md", "docs/b.md#x", "docs/d.md"]
    assert "links" not in items_of(*blocks)[0].metadata


WORDS = st.sampled_from(["mill", "tide", "ferry", "ünï", "字"])
TEXTS = st.lists(WORDS, min_size=1, max_size=400).map(" ".join)
BLOCKS = st.one_of(
    TEXTS.map(lambda text: Paragraph(text=text)),
    st.tuples(st.integers(1, 7), WORDS).map(lambda pair: Heading(text=pair[1], level=pair[0])),
    TEXTS.map(lambda text: ListItem(text=text)),
    TEXTS.map(lambda text: Code(text=text.replace(" ", "\n"))),
    st.integers(1, 9).map(lambda number: PageBreak(number=number)),
    st.lists(st.tuples(WORDS, TEXTS), min_size=1, max_size=4).map(
        lambda rows: Table(rows=tuple(rows), header=("a", "b"))
    ),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(BLOCKS, max_size=25))
def test_no_word_of_any_block_is_lost(blocks: list[Block]) -> None:
    """All words of all blocks but headings are in the items, in order; headings are in titles or texts; ids differ."""
    found = items_of(*blocks)
    assert len({item.id for item in found}) == len(found)
    told = " ".join(item.text for item in found).split()
    words = [word for block in blocks if not isinstance(block, Heading) for word in _plain(block)]
    places = iter(told)
    assert all(word in places for word in words)
    titles = " ".join(item.title for item in found)
    assert all(block.text in titles or block.text in told for block in _headings(blocks))


def _plain(block: Block) -> list[str]:
    return [word for word in block_text(block).split() if word in ("mill", "tide", "ferry", "ünï", "字")]


def _headings(blocks: Iterable[Block]) -> list[Heading]:
    return [block for block in blocks if isinstance(block, Heading)]


@pytest.mark.parametrize(
    ("metadata", "texts", "place"),
    [
        ({"page": 3, "line": 9}, (), "page 3"),
        ({"page": 3, "last_page": 5}, (), "pages 3 to 5"),
        ({"page": 3, "page_label": "iv"}, (), "page iv"),
        ({"line": 9}, (), "line 9"),
        ({"rows": [2, 4], "line": 2}, (), "rows 2 to 4"),
        ({"rows": [2, 4]}, ("nothing", "it is Name: Bob Moss; Room: 2 [1]"), "row 3"),
        ({"rows": [2, 4], "page": 1}, ("Name: Ada Lark; Room: 1\nName: Bob Moss; Room: 2",), "page 1, rows 2 to 3"),
        ({"rows": "no", "page": True}, (), ""),
    ],
)
def test_place_of_a_citation(metadata: dict[str, object], texts: tuple[str, ...], place: str) -> None:
    """The page, the rows that are quoted, or the line."""
    text = "- Name: Ada Lark; Room: 1\n- Name: Bob Moss; Room: 2\n- Name: Eve Finch; Room: 3"
    assert place_of(Item(id="a", text=text, metadata=metadata), *texts) == place
    assert place_of(Item(id="a", text=text, metadata=metadata, title=f"T ({place})"), *texts) == ""


def test_rows_of_several_tables_are_told_apart() -> None:
    """A title above a table, and a second table beside it: what is quoted is cited by its own row."""
    first = Table(rows=(("Sauna", "22"), ("Pool hall", "9")), header=("Ticket", "Price"), place=Place(row=4))
    second = Table(rows=(("Aula room", "340"),), header=("Room", "Seats"), place=Place(row=9))
    (found,) = items_of(Paragraph(text="Prices of the bath"), first, second)
    assert found.metadata["rows"] == [[4, 5], [9, 9]]
    assert place_of(found, "| Pool hall | 9 |") == "row 5"
    assert place_of(found, "| Aula room | 340 |") == "row 9"
    assert place_of(found, "Prices of the bath") == "rows 4 to 9"


def test_a_page_that_begins_after_a_section_is_not_its_last() -> None:
    """The break before the next heading belongs to what follows it."""
    pages = (PageBreak(number=1), Heading(text="One", level=1), Paragraph(text=LONG), PageBreak(number=2))
    found = items_of(*pages, Heading(text="Two", level=1), Paragraph(text=LONG))
    assert [(item.metadata["page"], item.metadata.get("last_page")) for item in found] == [(1, None), (2, None)]
