"""Reads tables of text: values between commas, semicolons, tabs or bars, as programs of tables export them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO

from attrs import frozen

from nexus_core import Block, Paragraph, Place, ReadHints, Remark, component
from nexus_readers.data.row_groups import RowGroups, column_names
from nexus_readers.text.source_text import read_text

DELIMITERS = ",;\t|"
_SAMPLE_LINES, _SAMPLE_CHARACTERS = 100, 100_000
_LEAST_SHARE, _RAGGED_SHARE = 0.6, 0.9
"""Of the rows that have as many cells as most have, or several where the first row names columns: prose has not."""
_WORDS_OF_NAME = 4
_LISTED_LENGTH = 80
"""Characters of the lines of a list, which is a table of one column."""
_MOST_LEADING = 20
"""Lines above a table, such as the title of a report."""
_SEPARATOR = re.compile(r"sep=([,;\t|])\s*", re.IGNORECASE)
_YEAR = re.compile(r"(?:19|20)\d\d")
_VALUE = re.compile(r"[+-]?[\d.,\s%€$£]*\d[\d.,\s%€$£]*|.*(?:://|@).*|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}.*", re.DOTALL)
"""What stands in rows and not above them: numbers, addresses, dates."""


@frozen
class DelimitedRow:
    """A row, and the line in which it begins."""

    line: int
    cells: list[str]
    opened: bool = False
    """The quote before its last cell is never closed."""


@component
class DelimitedReader:
    """Reads .csv and .tsv."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield tables of some hundred rows; text where there is no table."""
        decoded = read_text(file, hints)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        lines = decoded.text.split("\n")
        first = 0
        named = _SEPARATOR.fullmatch(lines[0])
        if named:
            first, delimiter = 1, named[1]
        else:
            delimiter = find_delimiter(lines, preferred="\t" if hints.suffix == ".tsv" else "")
        if delimiter:
            yield from _table(lines, first, delimiter)
        else:
            yield from _paragraphs(lines)


def find_delimiter(lines: Sequence[str], preferred: str = "") -> str:
    """Return what stands between the cells of a table; empty where some lines are no table."""
    best, found = (False, 0.0, 0), _list_delimiter(lines)
    for delimiter in dict.fromkeys([*preferred, *DELIMITERS]):
        rows = [row.cells for row in _sample(lines, delimiter) if any(row.cells)]
        widths = [*map(len, rows)]
        common = Counter(width for width in widths if width > 1).most_common(1)
        if not common:
            continue
        width, count = common[0]
        share = count / len(widths)
        score = (widths[0] == width, share, width)
        if (share >= _LEAST_SHARE or _is_ragged(rows)) and score > best:
            best, found = score, delimiter
    return found


def _list_delimiter(lines: Sequence[str]) -> str:
    some = [line for line in lines[:_SAMPLE_LINES] if line.strip()]
    short = all(len(line) <= _LISTED_LENGTH and len(line.split()) <= _WORDS_OF_NAME for line in some)
    return "," if short and len(some) > 1 else ""


def _is_ragged(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether rows of several lengths stand under the names of columns."""
    several = sum(len(row) > 1 for row in rows)
    named = len(rows[0]) > 1 and all(len(name.split()) <= _WORDS_OF_NAME for name in rows[0])
    return named and len(rows) > 1 and several >= _RAGGED_SHARE * len(rows)


def _sample(lines: Sequence[str], delimiter: str) -> Iterator[DelimitedRow]:
    size = 0
    for row in rows_of(lines[:_SAMPLE_LINES], 0, delimiter):
        yield row
        size += sum(map(len, row.cells))
        if size > _SAMPLE_CHARACTERS:
            return


def rows_of(lines: Sequence[str], first: int, delimiter: str) -> Iterator[DelimitedRow]:
    """Yield the rows from a line on; where a quote is never closed, the lines from there on are rows as they are."""
    if (longest := sum(map(len, lines)) + len(lines)) >= csv.field_size_limit():
        csv.field_size_limit(2 * longest)  # of the whole process, which only lets more through
    reader = csv.reader((line + "\n" for line in lines[first:]), delimiter=delimiter)
    last: DelimitedRow | None = None
    begins = first + 1
    for cells in reader:
        if last is not None:
            yield last
        last = DelimitedRow(line=begins, cells=cells)
        begins = first + reader.line_num + 1
    if last is None:
        return
    tail = lines[last.line - 1 :]
    if not _is_open(tail, delimiter):
        yield last
        return
    for number, line in enumerate(tail, last.line):
        yield DelimitedRow(line=number, cells=line.split(delimiter), opened=number == last.line)


def _is_open(lines: Sequence[str], delimiter: str) -> bool:
    """Tell whether a quote in the lines of one row is never closed."""
    if not any('"' in line for line in lines):
        return False
    try:
        list(csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _table(lines: Sequence[str], first: int, delimiter: str) -> Iterator[Block]:
    rows = rows_of(lines, first, delimiter)
    groups = RowGroups()
    above, wide = 0, any(len(row.cells) > 1 for row in _sample(lines[first:], delimiter))
    before = 0
    for row in rows:
        before += 1
        filled = sum(map(bool, row.cells))
        if filled == 1 and row.cells[0] and wide and above < _MOST_LEADING:
            above += 1
            yield Paragraph(text=" ".join(" ".join(row.cells).split()), place=Place(line=row.line))
        elif filled:
            break
    else:
        return
    if is_header(row.cells):
        groups.header, groups.number = column_names(row.cells), before
    else:
        rows, groups.number = chain([row], rows), before - 1
    for row in rows:
        if row.opened:
            yield Remark(text=f"a quote that opens in line {row.line} is never closed; the lines after it are rows")
        yield from groups.add(row.cells, row.line)
    yield from groups.end()


def is_header(cells: Sequence[str]) -> bool:
    """Tell whether a first row names the columns: texts, most of them once, none of them a value."""
    names = [cell.strip()[:100] for cell in cells]
    if names.count("") > 1 + len(names) // 10 or 2 * len({*names} - {""}) < len(names):
        return False
    values = [name for name in names if _VALUE.fullmatch(name)]
    return not values or (not _VALUE.fullmatch(names[0]) and all(map(_YEAR.fullmatch, values)))


def _paragraphs(lines: Sequence[str]) -> Iterator[Block]:
    held: list[str] = []
    begins = 1
    for number, line in enumerate([*lines, ""], 1):
        if line.strip():
            begins = begins if held else number
            held.append(line.strip())
        elif held:
            yield Paragraph(text="\n".join(held), place=Place(line=begins))
            held = []
