"""Input files of batches: JSON Lines, CSV and Parquet as a stream of mappings, each with its line.

Nothing is kept: a file of a million records is read in the memory of its longest line.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from nexus_core.batch.records import KEYS
from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.suggest import counted

Format = Literal["jsonl", "csv", "parquet"]
SUFFIXES: Mapping[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
LONGEST_LINE = 16 * 2**20
"""Bytes of one record."""
_ROWS = 256
_FIELD = re.compile(rb'(?:"[^"]*+(?:""[^"]*+)*+"(?![^,\r\n])|[^",\r\n][^,\r\n]*+)?+(?:,|\r?\n)')
"""A field of CSV that is right, with what ends it."""

Row = tuple[int, Mapping[str, Any] | UsageError]
"""A line from 1, of Parquet a row, and what it says, or what is wrong with it."""


def format_of(path: Path, given: str | None = None) -> Format:
    """Return the format of an input or output file, by its name where it is not given; raises UsageError."""
    found = SUFFIXES.get(f".{given}" if given else path.suffix.lower())
    if found is None:
        raise UsageError(
            f"{path}: the format is not told by its name: name it .jsonl, .csv or .parquet, or say --format"
        )
    if found == "parquet":
        parquet()
    return found


def parquet() -> Any:
    """Return the library for Parquet; raises UsageError where it is not installed."""
    if find_spec("pyarrow") is None:
        raise UsageError("Parquet needs the extra `parquet`: pip install 'contextnexus[parquet]'")
    return import_module("pyarrow.parquet")


def read_rows(path: Path, format: Format) -> Iterator[Row]:
    """Yield every record of a file that is not blank, in order; raises UsageError where the file cannot be read."""
    try:
        if not path.is_file() and path.exists():
            raise UsageError(f"{path} is no regular file: hand it in on standard input, as `-`")
        with path.open("rb") as file:
            yield from _READERS[format](file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _read_jsonl(file: BinaryIO) -> Iterator[Row]:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) > LONGEST_LINE:
            yield number, UsageError(f"the line is longer than {LONGEST_LINE // 2**20} MiB")
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE)
            continue
        if line.strip():
            yield number, _parsed(line)


def _parsed(line: bytes) -> Mapping[str, Any] | UsageError:
    try:
        data = json.loads(line.decode(), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        return UsageError(f"it is not UTF-8 at byte {error.start + 1}")
    except (ValueError, RecursionError) as error:
        return UsageError(f"it is not JSON: {error}")
    if not isinstance(data, dict):
        return UsageError('it is not a JSON object, such as {"query": "..."}')
    return data


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _read_csv(file: BinaryIO) -> Iterator[Row]:
    csv.field_size_limit(min(LONGEST_LINE, sys.maxsize))
    broken: list[int] = []
    reader = csv.reader(_lines(file, broken), strict=True)
    try:
        head = next(reader, None)
    except csv.Error as error:
        _refuse_open_quote(file, 1, reader.line_num)
        raise UsageError(f"the first line names no columns: {error}") from error
    if head is None:
        return
    if broken:
        raise UsageError("the first line is not UTF-8: save the file as UTF-8")
    if "query" not in head:
        shown = ", ".join(map(repr, head[:8]))
        hint = ": is it separated by semicolons?" if len(head) == 1 and ";" in head[0] else ""
        raise UsageError(f"the first line of a CSV file names its columns, one of them `query`; found {shown}{hint}")
    if len(set(head)) < len(head):
        raise UsageError("the first line of a CSV file names a column twice")
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            _refuse_open_quote(file, line, reader.line_num)
            yield line, UsageError(f"it is not CSV: {error}")
            continue
        if row is None:
            return
        if broken:
            broken.clear()
            yield line, UsageError("it is not UTF-8")
        elif row:
            yield line, _from_columns(head, row)


def _refuse_open_quote(file: BinaryIO, first: int, last: int) -> None:
    """Raise UsageError where a row that is no CSV goes over several lines: a quote in it takes in the rows after it.

    What these rows were cannot be told, so that they could not even fail as records.
    """
    if last == first:
        return
    file.seek(0)
    text = b"".join(islice(file, first - 1, last)).removeprefix(b"\xef\xbb\xbf")
    place = 0
    while (field := _FIELD.match(text, place)) is not None:
        place = field.end()
    if text[place : place + 1] == b'"':
        opened = first + text.count(b"\n", 0, place)
        raise UsageError(
            f"line {opened}: the quote that begins a field there is not closed by line {last}, so that the lines "
            "between belong to the field: close it; a quote within a field is written twice"
        )


def _lines(file: BinaryIO, broken: list[int]) -> Iterator[str]:
    """Yield the lines of a text; the numbers of those that are no UTF-8 are noted."""
    for number, line in enumerate(file):
        try:
            yield line.decode("utf-8-sig" if number == 0 else "utf-8")
        except UnicodeDecodeError:
            broken.append(number)
            yield line.decode("utf-8", "replace")


def _from_columns(head: list[str], row: list[str]) -> Mapping[str, Any] | UsageError:
    """Return a record: columns that are no key of one are inputs of the pipeline, by their names."""
    if len(row) != len(head):
        return UsageError(f"it has {counted(len(row), 'column')}, the first line {len(head)}")
    cells: dict[str, Any] = {name: cell for name, cell in zip(head, row, strict=True) if cell}
    if "inputs" in cells:
        try:
            cells["inputs"] = json.loads(cells["inputs"])
        except (ValueError, RecursionError):
            return UsageError('its `inputs` are no JSON object, such as {"tone": "short"}')
    return _from_cells(cells)


def _from_cells(cells: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs = {name.removeprefix("inputs."): cell for name, cell in cells.items() if name not in KEYS}
    if not inputs:
        return cells
    given = cells.get("inputs")
    if given is not None and not isinstance(given, Mapping):
        return cells
    return {name: cell for name, cell in cells.items() if name in KEYS} | {"inputs": {**(given or {}), **inputs}}


def _read_parquet(file: BinaryIO) -> Iterator[Row]:
    number = 0
    try:
        for batch in parquet().ParquetFile(file).iter_batches(batch_size=_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield number, _from_cells({name: value for name, value in row.items() if value is not None})
    except (OSError, ValueError) as error:  # what pyarrow raises is one of these
        raise UsageError(f"it is not Parquet, or damaged after row {number}: {error}") from error


_READERS = {"jsonl": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}
