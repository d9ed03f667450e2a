"""The index of faults in docs/explanation/faults.md is complete: each number has tests that name it, or a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "explanation" / "faults.md"
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"\bfaults? (\d+(?:(?:, | and | to )\d+)*)", re.IGNORECASE)
CASE = re.compile(r"([1-9]\d?)-[a-z]")
"""Cases of the connector's tables are called after their fault: `52-meta`."""


def numbers(text: str) -> Iterator[int]:
    """Yield the faults that a docstring names: `fault 4`, `faults 4, 7 and 9`, `faults 41 to 46`."""
    for match in NAMED.finditer(text):
        parts = re.findall(r"\d+|to", match[1])
        for place, part in enumerate(parts):
            if part == "to":
                yield from range(int(parts[place - 1]), int(parts[place + 1]))
            else:
                yield int(part)


def named_in(file: Path) -> set[int]:
    """Return the faults that the tests of a file name, in docstrings or in the names of their cases."""
    tree, found = ast.parse(file.read_text("utf-8")), set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found.update(numbers(ast.get_docstring(node) or ""))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (case := CASE.match(node.value)):
            found.add(int(case[1]))
    return found


@pytest.fixture(scope="module")
def named() -> dict[str, set[int]]:
    """The faults that are named, by test file: `plugins/openai/answers` for tests/plugins/openai/test_answers.py."""
    files = TESTS.rglob("test_*.py")
    return {f"{file.parent.relative_to(TESTS)}/{file.stem.removeprefix('test_')}": named_in(file) for file in files}


@pytest.fixture(scope="module")
def index() -> dict[int, str]:
    """Where each fault is held, or why not."""
    rows = ROW.findall(PAGE.read_text("utf-8"))
    assert len(rows) == len({row[0] for row in rows}), "a number stands twice in the index"
    return {int(number): where for number, _, where in rows}


def test_index_has_every_fault(index: dict[int, str]) -> None:
    """All of the service (1 to 40) and of its streams (41 to 74), in order."""
    assert list(index)[:74] == list(range(1, 75))


@pytest.mark.slow
def test_every_place_of_the_index_names_the_fault(index: dict[int, str], named: dict[str, set[int]]) -> None:
    """A test that is renamed, or no longer says what it is there for, is found here."""
    homes = {number: sorted(place for place, found in named.items() if number in found) for number in index}
    wrong = [
        f"{place} names no fault {number}; it is named in {homes[number]}"
        for number, where in index.items()
        for place in re.findall(r"`([^`]+)`", where)
        if number not in named.get(place, set())
    ]
    assert wrong == []


def test_what_is_held_nowhere_has_a_reason(index: dict[int, str]) -> None:
    """A row without a test begins with `not held:` and says why."""
    bare = {number: where for number, where in index.items() if "`" not in where}
    assert [number for number, where in bare.items() if not re.match(r"not held: .{20}", where)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fault 4.", [4]),
        ("Faults 4, 7 and 9: so it is (fault 2).", [4, 7, 9, 2]),
        ("faults 41 to 43, 50", [41, 42, 43, 50]),
        ("By default 4, at fault.", []),
    ],
)
def test_numbers_are_read_from_docstrings(text: str, expected: list[int]) -> None:
    """In the forms in which they are written."""
    assert list(dict.fromkeys(numbers(text))) == expected
