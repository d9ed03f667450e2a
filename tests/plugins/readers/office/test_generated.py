"""Generated documents come back from Word files, OpenDocument texts and books."""

from __future__ import annotations

import pytest
from attrs import evolve

from tests.plugins.readers.generated import TreeFigure, compare, document
from tests.plugins.readers.office.generated_office import WordFile, book, open_text
from tests.plugins.readers.office.office_files import read


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["a.docx", "a.odt"])
def test_generated_document_comes_back_as_its_blocks(name: str, seed: int) -> None:
    """Words in order, none lost, none twice, tables cell for cell."""
    tree = document(seed)
    data = WordFile().write(tree) if name == "a.docx" else open_text(tree)
    found = compare(read(data, name), tree)
    assert (found.lost, found.twice, found.strangers, found.tables) == ((), (), (), ())
    assert found.share >= 0.99


@pytest.mark.parametrize("seed", range(6))
def test_generated_book_comes_back_word_by_word(seed: int) -> None:
    """Its chapters are pages, which the reader of HTML reads; the table of contents is not doubled."""
    tree = document(seed, marks=("bold", "italic", "code", "link"))
    tree = evolve(tree, nodes=tuple(node for node in tree.nodes if not isinstance(node, TreeFigure)))
    found = compare(read(book(tree), "a.epub"), tree)
    assert (found.lost, found.twice, found.strangers) == ((), (), ())
    assert found.share >= 0.99
