"""The readers of tables: delimited text and Parquet."""

from __future__ import annotations

import datetime
from io import BytesIO
from pathlib import Path

import pytest

from nexus_core import Paragraph, SourceError, Table
from tests.plugins.readers.reading import blocks_of, grows_in_proportion, items_of, only, remarks, text

STAFF = "number,name,days,office\n" + "".join(f"E{n:04},Person {n},{n % 9 + 20},Graz\n" for n in range(1, 401))


def test_table_parts_can_be_read_alone() -> None:
    """Each item of a long table names the columns of each row, and tells its rows."""
    items = items_of(STAFF, "staff.csv")
    assert len(items) > 3
    for item in items:
        assert all(line.startswith("- number: E") and "; days: 2" in line for line in item.text.splitlines() if line)
    assert items[0].title.startswith("staff.csv (rows 2 to ")
    assert items[1].metadata["rows"][0] == items[0].metadata["rows"][1] + 1
    assert sum(item.text.count("Person") for item in items) == 400


def test_table_cells_with_quotes_and_line_breaks_are_whole() -> None:
    """A cell is one line; lines are counted in the file."""
    (table,) = only(Table, blocks_of('Name;Note\nA;"one\n""two"", ; three"\nB;x\n', "a.csv"))
    assert table.header == ("Name", "Note")
    assert table.rows == (("A", 'one "two", ; three'), ("B", "x"))
    assert (table.place.line, table.place.row) == (2, 2)


@pytest.mark.parametrize(
    ("data", "header", "rows"),
    [
        ("a\tb\n1\t2\n", ("a", "b"), (("1", "2"),)),
        ("a|b\n1|2\n", ("a", "b"), (("1", "2"),)),
        ("\ufeffname;price\nx;1,5\ny;2,5\n", ("name", "price"), (("x", "1,5"), ("y", "2,5"))),
        ("sep=;\na;b\n1;2\n", ("a", "b"), (("1", "2"),)),
        ("1,2\n3,4\n", (), (("1", "2"), ("3", "4"))),
        ("land,2019,2020\nA,1,2\n", ("land", "2019", "2020"), (("A", "1", "2"),)),
        ("a,b\n1\n2,3,4\n\n5,6\n", ("a", "b"), (("1",), ("2", "3", "4"), ("5", "6"))),
        ("mail\na@b.c\nd@e.f\n", ("mail",), (("a@b.c",), ("d@e.f",))),
        (",a\nx,1\n", ("", "a"), (("x", "1"),)),
    ],
    ids=["tab", "bar", "decimal comma", "sep", "no header", "years", "ragged", "list", "index"],
)
def test_table_of_any_form_is_found(data: str, header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
    """The delimiter and whether the first row names the columns are seen in the file."""
    tables = only(Table, blocks_of(data, "a.csv"))
    assert {table.header for table in tables} == {header}
    assert tuple(row for table in tables for row in table.rows) == rows


def test_table_rows_are_counted_as_programs_for_sheets_do() -> None:
    """The header is row 1, and an empty line is a row, too: after it another table begins."""
    tables = only(Table, blocks_of("a,b\n1,2\n\n3,4\n5,6\n", "a.csv"))
    assert [(table.place.row, len(table.rows)) for table in tables] == [(2, 1), (4, 2)]


def test_table_with_lines_above_has_them_as_text() -> None:
    """The title of a report is no row."""
    blocks = blocks_of("Staff of 2024,,\n,,\nid,name,city\n1,Ann,Graz\n", "a.csv")
    assert only(Paragraph, blocks)[0].text == "Staff of 2024"
    assert only(Table, blocks)[0].header == ("id", "name", "city")


def test_table_with_a_quote_left_open_keeps_its_rows() -> None:
    """They are no single cell; the line of the quote is told."""
    blocks = blocks_of('id,name\n1,Ann\n2,"Bob\n3,Cy\n4,Di\n', "a.csv")
    assert [row[0] for table in only(Table, blocks) for row in table.rows] == ["1", "2", "3", "4"]
    assert any("line 3" in remark for remark in remarks(blocks))


def test_table_cells_that_are_texts_are_paragraphs() -> None:
    """They can be cut by their sentences; their row goes before them."""
    blocks = blocks_of("id,story\n1," + "It goes on. " * 400 + "\n2,short\n", "a.csv")
    assert [table.rows for table in only(Table, blocks)] == [(("1", ""),), (("2", "short"),)]
    assert only(Paragraph, blocks)[0].text.startswith("story: It goes on.")


def test_table_that_is_prose_is_text() -> None:
    """Whatever its suffix."""
    prose = "This is prose, and nothing else.\nIt has many sentences. No table at all.\nReally\n\nMore.\n"
    assert [block.text for block in only(Paragraph, blocks_of(prose, "a.csv"))][1] == "More."


def test_parquet_rows_name_their_columns(tmp_path: Path) -> None:
    """Values are written as people read them."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    when = datetime.datetime(2024, 1, 2, 3, 4)
    columns = {"id": [1, 2], "name": ["a", None], "when": [when, when], "list": [[1, 2], None], "b": [b"\0\xff", b"x"]}
    data = BytesIO()
    parquet.write_table(pyarrow.table(columns), data)
    (table,) = only(Table, blocks_of(data.getvalue(), "a.parquet"))
    assert table.header == tuple(columns)
    assert table.rows[0] == ("1", "a", "2024-01-02T03:04:00", "[1,2]", "(2 bytes)")
    assert table.rows[1] == ("2", "", "2024-01-02T03:04:00", "", "x")


def test_parquet_comes_in_groups_of_rows() -> None:
    """Their numbers go on."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    data = BytesIO()
    parquet.write_table(pyarrow.table({"n": list(range(1000))}), data, row_group_size=300)
    tables = only(Table, blocks_of(data.getvalue(), "a.parquet"))
    assert [table.place.row for table in tables] == [1, 201, 401, 601, 801]
    assert text(list(tables)).count("- n: ") == 1000


def test_parquet_that_is_none_is_refused() -> None:
    """With the reason."""
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        blocks_of(b"PAR1" + b"x" * 100, "a.parquet")


SHAPES = {
    "rows": "a,b\n|1,2\n",
    "cells": "a,b\n|1,",
    "quotes": 'a,b\n|"1",2\n',
    "open": 'a,b\n"|1,2\n',
    "quote marks": 'a,b\n|"',
    "digits": "|1",
    "blank": "a,b\n|\n",
    "words": "|word, word\n\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_table_cost_grows_in_proportion(shape: str) -> None:
    """Twice the table costs twice as much."""
    before, again = SHAPES[shape].split("|")
    assert grows_in_proportion("a.csv", lambda size: before + again * (size // len(again)))


def test_csv_takes_names_of_columns_that_come_twice() -> None:
    """Amount and currency may stand twice in a row of names; each row still carries them."""
    (table,) = only(Table, blocks_of("Item,Amount,Currency,Amount,Currency\nPen,2,EUR,3,USD\n", "a.csv"))
    assert [*map(bool, table.header)] == [True] * 5
    assert table.rows == (("Pen", "2", "EUR", "3", "USD"),)
