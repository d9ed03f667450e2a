"""The reader of notebooks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nexus_core import Code, Figure, Heading, SourceError
from tests.plugins.readers.reading import blocks_of, grows_in_proportion, items_of, only, remarks, text


def notebook(*cells: dict[str, Any]) -> str:
    """Return a notebook in Python."""
    return json.dumps({"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4})


def run(*outputs: dict[str, Any], source: str = "run()") -> dict[str, Any]:
    """Return a cell of code with what it gave."""
    return {"cell_type": "code", "source": source, "outputs": list(outputs)}


def test_notebook_is_its_cells_in_order() -> None:
    """Markdown has its headings, code its language."""
    book = notebook(
        {"cell_type": "markdown", "source": ["# Load\n", "\n", "We read the *file*.\n"]},
        run({"output_type": "stream", "text": ["total 4711\n"]}, source="print(total)"),
        {"cell_type": "raw", "source": "raw words"},
    )
    blocks = blocks_of(book, "a.ipynb")
    assert [(block.text, block.level) for block in only(Heading, blocks)] == [("Load", 1)]
    assert [(block.text, block.language) for block in only(Code, blocks)] == [
        ("print(total)", "python"),
        ("total 4711", ""),
        ("raw words", ""),
    ]
    assert "We read the" in text(blocks)


def test_notebook_outputs_are_as_they_were_seen() -> None:
    """Without colours, progress bars at their end, errors without their trace."""
    book = notebook(
        run(
            {"output_type": "stream", "text": "\x1b[31mred\x1b[0m\n 10%\r100%\n"},
            {"output_type": "error", "ename": "ValueError", "evalue": "bad \x1b[1mvalue", "traceback": ["long"]},
        )
    )
    assert [block.text for block in only(Code, blocks_of(book, "a.ipynb"))][1:] == [
        "red\n100%",
        "ValueError: bad value",
    ]


def test_notebook_tables_are_read_and_pictures_told() -> None:
    """One form of each output; a picture by the words that it comes with."""
    table = {"text/html": "<table><tr><th>a</th></tr><tr><td>42</td></tr></table>", "text/plain": "a 42"}
    figure = {"image/png": "AAAA", "text/plain": "<Figure size 640x480 with 1 Axes>"}
    named = {"image/png": "AAAA", "text/plain": "Sales by year"}
    shown = [{"output_type": "display_data", "data": data} for data in (table, figure, named)]
    blocks = blocks_of(notebook(run(*shown)), "a.ipynb")
    assert text(blocks).count("42") == 1
    assert [block.text for block in only(Figure, blocks)] == ["Sales by year"]
    assert remarks(blocks) == ["cell 1: its output is a picture, which is left out"] * 2


def test_notebook_output_that_is_too_long_is_cut_and_told() -> None:
    """Its beginning and end are kept."""
    blocks = blocks_of(notebook(run({"output_type": "stream", "text": "begin" + "y" * 30_000 + "end"})), "a.ipynb")
    output = only(Code, blocks)[1].text
    assert (output[:5], output[-3:], len(output) < 11_000) == ("begin", "end", True)
    assert any("20,008 characters" in remark for remark in remarks(blocks))


def test_notebook_of_version_three_is_read() -> None:
    """Its cells stand in sheets, its headings are cells."""
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["Part"]},
        {
            "cell_type": "code",
            "input": ["x = 1"],
            "language": "python",
            "outputs": [{"output_type": "pyout", "text": "5"}],
        },
    ]
    blocks = blocks_of(json.dumps({"worksheets": [{"cells": cells}]}), "a.ipynb")
    assert [block.text for block in only(Code, blocks)] == ["x = 1", "5"]
    assert only(Heading, blocks)[0].level == 2


@pytest.mark.parametrize("data", ["{", "[]", "{}", '{"cells": 5}'])
def test_notebook_that_is_none_is_refused(data: str) -> None:
    """With the reason."""
    with pytest.raises(SourceError, match="is no notebook"):
        blocks_of(data, "a.ipynb")


def test_notebook_of_odd_values_is_read() -> None:
    """Whatever stands where a text or a list should."""
    book = notebook(
        {"cell_type": "code", "source": 5, "outputs": {"a": 1}}, run({"output_type": 1}), {"cell_type": None}
    )
    assert [item.kind for item in items_of(book, "a.ipynb")] == ["code"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["# a\n\ntext\n", "x = 1\n"])
def test_notebook_cost_grows_in_proportion(source: str) -> None:
    """Twice the cells cost twice as much."""
    markdown = {"cell_type": "markdown", "source": source}
    cell = markdown if source.startswith("#") else run({"output_type": "stream", "text": "a\n" * 20}, source=source)
    assert grows_in_proportion("a.ipynb", lambda size: notebook(*[cell] * (size // 100)))
