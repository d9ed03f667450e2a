"""Whether the first row of a table names its columns, where the file does not say so."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[-+−(]?[\s$€£¥]*\d[\d\s.,:/'’%-]*(?:[€$£%)]|\w{1,4})?\s*")
"""Also dates, hours and amounts."""
_MEASURE = re.compile(rf"(?:{_NUMBER.pattern}|{_NUMBER.pattern}\s[^\W\d_]{{1,16}})")
"""A number alone, or with a word for what is counted: `12 tonnes`."""
_YEAR = re.compile(r"(?:19|20)\d\d")
"""A column may be called by its year."""
_LONGEST_NAME = 80


def names_columns(rows: Sequence[Sequence[str]], *, looks_so: bool = False) -> bool:
    """Tell whether the first of some rows is a header: it looks so, and reads as names of what stands below.

    `looks_so`: it is bold, or otherwise unlike the rows below it.
    """
    if len(rows) < 2:
        return False
    first, below = rows[0], rows[1:]
    years = [at for at, cell in enumerate(first) if at and _YEAR.fullmatch(cell)]
    if any(at < len(row) and _YEAR.fullmatch(row[at]) for row in below for at in years):
        return False
    said = [cell for cell in first if cell]
    if len(said) < len(first) - 1 or len(said) < min(2, len(first)) or len(set(said)) < len(said):
        return False
    if any(len(cell) > _LONGEST_NAME or is_number(cell) for at, cell in enumerate(first) if cell and at not in years):
        return False
    return looks_so or bool(years) or len(first) > 2 or has_numbers_below(rows, len(first))


def has_numbers_below(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Tell whether a column holds numbers only, and measures, but for its first cell, which is its name."""
    for column in range(width):
        first, *cells = [row[column] for row in rows if column < len(row) and row[column]] or [""]
        if cells and not _is_measure(first) and all(map(_is_measure, cells)):
            return True
    return False


def _is_measure(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and _MEASURE.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Tell whether a cell is a number, an amount, a date or an hour."""
    return len(text) <= _LONGEST_NAME and _NUMBER.fullmatch(text) is not None


def with_header(
    rows: Sequence[tuple[str, ...]], *, declared: int = 0, looks_so: bool = False
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the header of a table and its other rows; `declared` is how many rows the file says are its header.

    Several header rows become one, the words of each column below each other put side by side.
    """
    if 0 < declared < len(rows):
        return _merged(rows[:declared]), tuple(rows[declared:])
    if names_columns(rows, looks_so=looks_so):
        return rows[0], tuple(rows[1:])
    return (), tuple(rows)


def _merged(rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    width = max(map(len, rows))
    columns = [[row[at] for row in rows if at < len(row) and row[at]] for at in range(width)]
    return tuple(" ".join(dict.fromkeys(words)) for words in columns)
