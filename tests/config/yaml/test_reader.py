"""From bytes to a tree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from nexus_core.config.yaml.problems import Problems, SourceLocation
from nexus_core.config.yaml.reader import DEEPEST, MOST_BYTES, line_locator, read
from nexus_core.config.yaml.tree import MappingNode, SequenceNode, UnreadableNode, plain


def read_all(source: str | bytes) -> tuple[Any, list[str]]:
    """Return the data and the problems' texts."""
    problems = Problems("f.yaml")
    tree = read(source, "f.yaml", problems)
    return None if tree is None else plain(tree), [str(problem) for problem in problems.listed()]


def test_read_keeps_the_place_of_every_node() -> None:
    """Lines and columns count from one, in characters."""
    tree = read("ä: [ö, {ü: 1}]\nb:\n  - c\n", "f.yaml", Problems("f.yaml"))
    assert isinstance(tree, MappingNode)
    first, second = tree.entries
    assert isinstance(first.value, SequenceNode)
    assert [node.place for node in first.value.items] == [
        SourceLocation("f.yaml", 1, 5),
        SourceLocation("f.yaml", 1, 8),
    ]
    assert isinstance(second.value, SequenceNode)
    assert second.value.items[0].place == SourceLocation("f.yaml", 3, 5)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "mac"])
def test_read_counts_lines_as_editors_do(end: str) -> None:
    """All three line ends count, and a line separator inside a text does not."""
    tree = read(f"a: 'x\u2028y'{end}b: 1{end}", "f.yaml", Problems("f.yaml"))
    assert isinstance(tree, MappingNode)
    assert tree.entries[1].key.place.line == 2


def test_read_joins_the_halves_of_a_character() -> None:
    r"""JSON writes an emoji as two escapes."""
    assert read_all('a: "\\ud83d\\ude00"') == ({"a": "\N{GRINNING FACE}"}, [])


def test_read_accepts_a_byte_order_mark() -> None:
    """Some editors write one."""
    assert read_all(b"\xef\xbb\xbfa: 1") == ({"a": 1}, [])


HINTS = {
    "a: [*.md]": "1:5 Y003 not YAML: a value that begins with * must be in quotes",
    "a: {q: How many?}": "1:16 Y003 not YAML: inside { } and [ ] put values that hold ? in quotes",
    "a: [How many?]": "1:13 Y003 not YAML: inside { } and [ ] put values that hold ? in quotes",
    "a: &": "1:4 Y003 not YAML: a value that begins with & must be in quotes",
    "a: @x": "1:4 Y003 not YAML: a value cannot begin with this character: put the value in quotes",
    "a:\n\t- x": "2:1 Y003 not YAML: a tab stands here: indent with spaces",
    "a: 'x": "1:4 Y003 not YAML: the quote that opens here is never closed",
    'a: "\\d"': "1:4 Y003 not YAML: inside double quotes \\ begins an escape",
    "a: b: c": "1:5 Y003 not YAML: this ':' is not expected",
    "a:b\nc: 1": "2:2 Y003 not YAML: this ':' is not expected",
    "a: 1\nb\nc: 2": "2:1 Y003 not YAML: a key needs ': ' after it",
    "a: {b: ${C}}": "1:9 Y003 not YAML: a { is not closed",
    "a: [1, 2": "1:4 Y003 not YAML: a [ is not closed",
    "a:\n  b: 1\n c: 2": "3:2 Y003 not YAML: the indentation does not fit: begin the keys",
    "- a\n b: c": "2:3 Y003 not YAML: this ':' is not expected",
    "a: - b": "1:4 Y003 not YAML: '- ' cannot begin a list here",
    "a: | x\n y": "1:6 Y003 not YAML: after | or >",
    "a: ]": "1:4 Y003 not YAML: a value is missing here",
    "a: !<x": "1:7 Y003 not YAML: a value that begins with ! must be in quotes",
    "%X": "1:3 Y003 not YAML: the document has ended before this",
    'a: "\\UFFFFFFFF"': "1:1 Y003 not YAML: an impossible escape",
}


@pytest.mark.parametrize("text", HINTS)
def test_read_says_in_plain_words_what_is_wrong(text: str) -> None:
    """Syntax errors name the likely mistake, not the parser's state."""
    _, problems = read_all(text)
    assert len(problems) == 1
    assert problems[0].startswith("f.yaml:" + HINTS[text])


def test_read_goes_on_after_what_is_refused() -> None:
    """Duplicates, anchors, aliases, tags and odd keys are all found in one pass."""
    text = "a: &x 1\na: 2\nb: *x\nc: !!set {}\n<<: {d: 1}\n1: e\n? [f]\n: g\nh: .nan\n"
    data, problems = read_all(text)
    assert [problem.split()[1] for problem in problems] == [
        "Y005",
        "Y004",
        "Y005",
        "Y006",
        "Y005",
        "Y007",
        "Y007",
        "Y008",
    ]
    assert data == {"a": 1, "b": None, "c": {}, "h": None}


def test_read_names_both_places_of_a_duplicate() -> None:
    """The place is the second one, the message has the first."""
    assert read_all("x: {a: 1, b: 2,\n    a: 3}")[1] == [
        "f.yaml:2:5 Y004 'a' stands twice, first in line 1, column 5: remove one"
    ]


def test_read_takes_an_unquoted_expression_for_one_mistake() -> None:
    """YAML reads `{{ x }}` as a mapping with a mapping as its key; what stands around it is still read."""
    problems = Problems("f.yaml")
    tree = read("a: {{ x }}\nb: 1", "f.yaml", problems)
    assert [problem.code for problem in problems.listed()] == ["Y007"]
    assert isinstance(tree, MappingNode)
    assert isinstance(tree.get("a"), UnreadableNode)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "? " * 100_000,
        "a: &b [*b]",
        '"\\x',
        "\0",
        "\ud800",
        "---\n---\na",
    ],
    ids=["lists", "mappings", "dashes", "questions", "itself", "escape", "nul", "surrogate", "documents"],
)
def test_read_survives_hostile_text(text: str) -> None:
    """No depth, no alias and no escape ends in anything but problems."""
    _, problems = read_all(text)
    assert problems


@pytest.mark.slow
def test_read_allows_what_is_just_within_the_bounds() -> None:
    """The bounds are the first refused values, not the last allowed ones."""
    assert read_all("[" * DEEPEST + "]" * DEEPEST)[1] == []
    assert read_all("a: 1\n" + "#" * (MOST_BYTES - 5))[1] == []


@pytest.mark.slow
@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{},&*!|>'\"%@`#? \n\t\\x0\u2028", max_size=60).map(str.encode))
def test_read_never_raises(source: bytes) -> None:
    """Any bytes are a tree or problems."""
    data, problems = read_all(source)
    assert data is None or problems is not None


@given(st.text(alphabet="a\n\r", max_size=30))
def test_line_locator_agrees_with_splitting(text: str) -> None:
    """The place of an index is the number of lines before it, and what stands before it in its line."""
    locate = line_locator(text, "f")
    for index in range(len(text)):
        before = (
            text[:index].replace("\r\n", "\n").replace("\r", "\n") if text[index - 1 : index + 1] != "\r\n" else None
        )
        if before is not None:
            assert locate(index) == SourceLocation(
                "f", before.count("\n") + 1, index - max(text.rfind(c, 0, index) for c in "\r\n")
            )
