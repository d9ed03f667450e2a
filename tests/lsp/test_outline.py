"""The outline of a text: the same tree as the strict reader's where there is one, and a tree where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nexus_core.config.yaml.problems import Problems
from nexus_core.config.yaml.reader import read
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, SequenceNode
from nexus_core.lsp.document_text import DocumentText
from nexus_core.lsp.outline import OutlineBlock, OutlineScalar, find_place, read_outline

PIPELINES = sorted((Path(__file__).parent.parent.parent / "pipelines").glob("*.yaml"))
LINES = [
    "steps:",
    "- rank: bm25",
    "  as: x",
    "- {a: b, c: [d, 'e']}",
    "    key: |",
    "      text: y",
    "# c",
    "",
    "- - z",
    "k: >",
]
PIECES = st.text(alphabet="ab:-?{}[]'\"#|> \n\r\t\\,😀", max_size=80)

Shape = object


def strict(node: Node) -> Shape:
    """Return the keys and plain values of a tree."""
    if isinstance(node, MappingNode):
        return {key.source: strict(value) for key, value in node.items()}
    if isinstance(node, SequenceNode):
        return [strict(item) for item in node.items]
    return node.source if isinstance(node, ScalarNode) and node.plain else ""


def lenient(value: OutlineBlock | OutlineScalar | None) -> Shape:
    if isinstance(value, OutlineBlock) and value.is_list:
        return [lenient(entry.value) for entry in value.entries]
    if isinstance(value, OutlineBlock):
        return {entry.key.text: lenient(entry.value) for entry in value.entries if entry.key is not None}
    return value.text if value is not None and value.style == "plain" else ""


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_outline_of_a_sound_text_is_its_tree(path: Path) -> None:
    """Keys, lists and plain values are those that the strict reader finds."""
    text = path.read_text("utf-8")
    tree = read(text, str(path), Problems(str(path)))
    assert tree is not None
    assert lenient(read_outline(text)) == strict(tree)


@given(st.lists(st.one_of(st.sampled_from(LINES), PIECES), max_size=12).map("\n".join), st.integers(0, 400))
def test_outline_is_there_whatever_the_text_is(text: str, index: int) -> None:
    """Nothing raises; what is found at an index has the index in it, and its text is that of the document."""
    index = min(index, len(text))
    place = find_place(read_outline(text), index)
    if place is not None:
        assert place.scalar.start <= index <= place.scalar.end <= len(text)
        if place.scalar.style == "plain":
            assert text[place.scalar.start : place.scalar.end] == place.scalar.text


@given(st.text(alphabet="a😀é\r\n ", max_size=40), st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_positions_and_indexes_are_inverse(text: str, encoding: str) -> None:
    """For every place between characters, in each encoding; within a line end it is the end of the line."""
    document = DocumentText(text, encoding)  # type: ignore[arg-type]
    for index in range(len(text) + 1):
        if text[max(index - 1, 0) : index + 1] != "\r\n":
            assert document.index(*document.position(index)) == index
