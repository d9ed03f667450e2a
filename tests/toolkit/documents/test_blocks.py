"""Blocks as text, tables without spans, and what guards reading: sizes, files in files, faults."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, strategies as st

from nexus_core import (
    Code,
    Figure,
    Footnote,
    Formula,
    Heading,
    ListItem,
    Paragraph,
    Quotation,
    SourceError,
    Table,
)
from nexus_core.toolkit import (
    Cell,
    DocumentReader,
    FileOrigin,
    TableGrid,
    block_text,
    blocks_text,
    require_extra,
    table_rows,
)
from nexus_core.toolkit.documents.table_grid import MOST_COLUMNS, MOST_COPIES


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (Heading(text="A", level=2), "## A"),
        (Heading(text="A", implied=True), ""),
        (Paragraph(text="10^6"), "10^6"),
        (ListItem(text="a\nb", depth=2, marker="3."), "  3. a\n    b"),
        (Quotation(text="a\nb", depth=2), "> > a\n> > b"),
        (Code(text="a ``` b", language="py"), "````py\na ``` b\n````"),
        (Table(rows=(("1", "a|b"),), header=("N", "T"), caption="C"), "C\n\n| N | T |\n| --- | --- |\n| 1 | a\\|b |"),
        (Figure(text="a mill", caption="Fig. 1"), "[Figure: a mill]\nFig. 1"),
        (Formula(text="x^2"), "$$\nx^2\n$$"),
        (Footnote(mark="1", text="n"), "[^1]: n"),
    ],
)
def test_block_is_written_as_markdown(block: Paragraph, text: str) -> None:
    """One way for all formats."""
    assert block_text(block) == text


def test_large_table_names_its_columns_in_each_row() -> None:
    """A row can be quoted alone; empty cells are left out, and cells without a name have none."""
    table = Table(rows=tuple((f"n{n}", "", "x" * 30, "more") for n in range(30)), header=("Name", "Gone", "Text"))
    assert block_text(table).split("\n")[3] == f"- Name: n3; Text: {'x' * 30}; more"


def test_list_items_stand_close_and_paragraphs_apart() -> None:
    """As people write Markdown."""
    blocks = [Paragraph(text="a"), ListItem(text="b"), ListItem(text="c"), Paragraph(text="d")]
    assert blocks_text(blocks) == "a\n\n- b\n- c\n\nd"


def test_spans_stand_in_every_column_and_row() -> None:
    """What reaches over two columns and three rows stands in all six."""
    rows = [[Cell("a", columns=2, rows=3), Cell("b")], [Cell("c")], [Cell("d")], [Cell("e"), Cell("f"), Cell("g")]]
    assert list(table_rows(rows)) == [("a", "a", "b"), ("a", "a", "c"), ("a", "a", "d"), ("e", "f", "g")]


def test_spans_of_thousands_of_millions_stay_small() -> None:
    """A page of a few bytes makes no table of gigabytes."""
    grid = TableGrid()
    sizes = [len(grid.row([Cell("x", columns=10**9, rows=10**9)])) for _ in range(5_000)]
    assert max(sizes) <= MOST_COLUMNS + 1
    assert sum(sizes) < 2 * MOST_COPIES + 10_000


CELLS = st.builds(Cell, st.sampled_from("abc"), st.integers(-1, 4), st.integers(0, 4))


@given(st.lists(st.lists(CELLS, max_size=5), max_size=6))
def test_each_cell_stands_in_its_own_row(rows: list[list[Cell]]) -> None:
    """Whatever the spans, no cell is lost."""
    for made, row in zip(table_rows(rows), rows, strict=True):
        places = iter(made)
        assert all(cell.text in places for cell in row)


def test_missing_extra_is_told_with_its_command() -> None:
    """What is needed for which files."""
    with pytest.raises(
        SourceError, match=r"Acme files are read with an extra: pip install 'contextnexus\[documents\]'"
    ):
        require_extra("nothing_of_that_name", "documents", "Acme files")


def test_file_that_is_no_text_is_refused_with_its_reason() -> None:
    """Bytes of a program are no document."""
    with pytest.raises(SourceError, match="is binary"):
        DocumentReader().items(BytesIO(b"\x7fELF" + bytes(1000)), FileOrigin(name="a.bin"))
