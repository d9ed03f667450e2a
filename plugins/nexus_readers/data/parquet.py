"""Reads Parquet: its rows in batches, with the names of their columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO

import orjson

from nexus_core import Block, ReadHints, SourceError, component
from nexus_core.toolkit import counted, require_extra
from nexus_readers.data.row_groups import RowGroups

BATCH = 200
"""Rows that are in memory at once."""
MOST_COLUMNS = 2_000


@component
class ParquetReader:
    """Reads .parquet."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield tables of some hundred rows."""
        parquet = require_extra("pyarrow.parquet", "parquet", "Parquet files")
        arrow = require_extra("pyarrow", "parquet", "Parquet files")
        try:
            table = parquet.ParquetFile(file)
        except (arrow.ArrowException, OSError) as error:
            raise SourceError(f"cannot be read as Parquet ({_first_line(error)}); left out") from error
        names = tuple(map(str, table.schema_arrow.names))
        if len(names) > MOST_COLUMNS:
            raise SourceError(f"has {len(names):,} columns, more than {MOST_COLUMNS:,}; left out")
        groups = RowGroups(header=names)
        try:
            for batch in table.iter_batches(batch_size=BATCH):
                columns = [column.to_pylist() for column in batch.columns]
                for row in zip(*columns, strict=True):
                    yield from groups.add([*map(value_text, row)])
        except (arrow.ArrowException, OSError) as error:
            yield from groups.end()
            raise ValueError(_first_line(error)) from error
        yield from groups.end()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def value_text(value: Any) -> str:
    """Return a value as people read it: nothing for null, ISO 8601 for times, JSON for what has parts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return _bytes_text(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping | Sequence):
        return orjson.dumps(value, default=value_text, option=orjson.OPT_NON_STR_KEYS).decode()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _bytes_text(value: bytes) -> str:
    """Return bytes that are text as such; of others how many they are."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    return text if text.isprintable() else f"({counted(len(value), 'byte')})"
