"""Export of a batch: its results in the order of the input, out of the journal, as JSON Lines or Parquet.

The output replaces what was there at once and as a whole. It holds one line for each record, whatever became of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from nexus_core.batch.input_files import Format, parquet
from nexus_core.batch.journal import Journal
from nexus_core.contract.errors import StoreError, StoreFullError
from nexus_core.toolkit.atomic_file import whole_file

_PENDING = (
    '{"outcome":"pending","answer":null,"finishReason":null,"model":null,"modelId":null,"sources":[],"usage":null,'
    '"attempts":[],"error":null}'
)
_LINE_ENDS = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"})
"""Ends of lines for some readers of text, and none in JSON Lines."""
_ROWS = 512
_NESTED = ("value", "repaired", "sources", "usage", "attempts", "error", "timings")
"""Columns of Parquet that are JSON texts: their shape is open."""
_PLAIN = ("id", "outcome", "answer", "finishReason", "model", "modelId")


def export(journal: Journal, output: Path, format: Format, *, timings: bool) -> int:
    """Write the results to a file, and return how many records have one; raises StoreError where that fails."""
    begins = b"PAR1" if format == "parquet" else b'{"id":'
    try:
        with whole_file(output, begins=begins) as file:
            return _WRITERS[format](journal, file, timings)
    except OSError as error:
        raise StoreFullError(
            f"cannot write {output}: {error.strerror or error}; the results are in the journal"
        ) from error


def result_lines(journal: Journal, *, timings: bool) -> Iterator[tuple[bool, str]]:
    """Yield each record's line of JSON, and whether it has a result."""
    for id, _, _, result, times in journal.results():
        more = f',"timings":{times}' if timings and times else ""
        line = f'{{"id":{json.dumps(id, ensure_ascii=False)},{(result or _PENDING)[1:-1]}{more}}}'
        yield result is not None, line.translate(_LINE_ENDS)


def _write_lines(journal: Journal, file: BinaryIO, timings: bool) -> int:
    count = 0
    for has_result, line in result_lines(journal, timings=timings):
        file.write(line.encode(errors="replace") + b"\n")
        count += has_result
    return count


def _write_parquet(journal: Journal, file: BinaryIO, timings: bool) -> int:
    library, arrow = parquet(), import_module("pyarrow")
    columns = [*_PLAIN, *(name for name in _NESTED if timings or name != "timings")]
    schema = arrow.schema([(name, arrow.string()) for name in columns])
    count = 0
    rows: list[dict[str, Any]] = []
    try:
        with library.ParquetWriter(file, schema) as writer:

            def flush() -> None:
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
                rows.clear()

            for has_result, line in result_lines(journal, timings=timings):
                data = json.loads(line)
                rows.append({name: _cell(name, data.get(name)) for name in columns})
                count += has_result
                if len(rows) == _ROWS:
                    flush()
            flush()
    except arrow.ArrowException as error:
        raise StoreError(f"the results cannot be written as Parquet: {error}") from error
    return count


def _cell(name: str, value: Any) -> str | None:
    if value is None or name in _PLAIN:
        return None if value is None else str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_WRITERS = {"jsonl": _write_lines, "parquet": _write_parquet}
