"""Where in its document a cited text stands: the page, the row of a table, or the line; as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nexus_core.contract.values import Item

_SHORTEST = 8
"""Characters of a row that is looked for in a text: shorter ones stand anywhere."""


def place_of(item: Item, *texts: str) -> str:
    """Return `page 3`, `row 57`, `rows 2 to 41` or `line 12`; empty where the item tells none, or its title does.

    Of a table the rows are those that the first of the texts holds which holds any: what an answer quotes, then what
    was sent of the item.
    """
    found = ", ".join(filter(None, [_page(item.metadata), _row(item, texts)])) or _line(item.metadata)
    return "" if item.title.endswith(f"({found})") else found


def _page(told: Mapping[str, Any]) -> str:
    page, last, label = (told.get(name) for name in ("page", "last_page", "page_label"))
    if type(page) is not int:
        return ""
    return f"page {label}" if label and last is None else _span("page", page, last if type(last) is int else page)


def _row(item: Item, texts: Sequence[str]) -> str:
    spans = _spans(item.metadata.get("rows"))
    return _span("row", *_rows_in(item.text, spans, texts)) if spans else ""


def _spans(rows: Any) -> list[tuple[int, int]]:
    """Return the first and last row of each table: the metadata has two numbers, or for several tables pairs."""
    pairs = [rows] if isinstance(rows, Sequence) and rows and type(rows[0]) is int else rows
    if not isinstance(pairs, Sequence) or isinstance(pairs, str):
        return []
    found = [tuple(pair) for pair in pairs if isinstance(pair, Sequence) and [*map(type, pair)] == [int, int]]
    return [(first, last) for first, last in found] if len(found) == len(pairs) else []


def _line(told: Mapping[str, Any]) -> str:
    line = told.get("line")
    return f"line {line}" if type(line) is int else ""


def _span(word: str, first: int, last: int) -> str:
    return f"{word} {first}" if first == last else f"{word}s {first} to {last}"


def _rows_in(text: str, spans: Sequence[tuple[int, int]], quoting: Sequence[str]) -> tuple[int, int]:
    """Return the first and last row that stands in one of the texts, word for word; all of them where none does."""
    numbers = [number for first, last in spans for number in range(first, last + 1)]
    lines = _row_lines(text)
    if len(lines) == len(numbers):
        for quoted in quoting:
            held = [
                number for number, line in zip(numbers, lines, strict=True) if len(line) >= _SHORTEST and line in quoted
            ]
            if held:
                return min(held), max(held)
    return min(numbers), max(numbers)


def _row_lines(text: str) -> list[str]:
    """Return the lines of an item that are rows of its tables, without the marks of a list."""
    found: list[str] = []
    for part in text.split("\n\n"):
        lines = part.strip("\n").split("\n")
        records = [line[2:] for line in lines if line.startswith("- ")]
        grid = [line for line in lines if line.startswith("| ")]
        headed = any(line.startswith("| ---") for line in grid[1:2])
        found += records or (grid[2:] if headed else grid)
    return found
