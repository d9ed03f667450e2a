"""The dialect: SQL as the modules of the store write it, as Postgres reads it.

Each statement is translated once. What Postgres spells otherwise is little, since the modules keep to what both
understand (see `database/sql.py`); the rest are functions of the schema that are called by SQLite's names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from attrs import frozen

from nexus_core.store.database.sql import DEFER_FOREIGN_KEYS

_INDEXED_BY = re.compile(r" INDEXED BY \w+")
_AMONG = re.compile(r"(?<!NOT )\bIN \(SELECT value FROM json_each\(\?\) AS numbers\)")
_ANY = "= ANY (CAST(? AS bigint[]))"
"""A constant, whose length the planner knows: of what a function returns it knows nothing, and reads whole tables."""
_MARK = re.compile(r"\?( AS bigint\[\]\))?")
_ARRAY = re.compile(r"\bjson_each\(\?\) AS (numbers|texts)\b")
_READS_JSON = (
    (re.compile(r"\binstr\("), "strpos("),
    # What SQLite parses for each function is parsed once. A NUL, which no jsonb holds, is written with this sign.
    (
        re.compile(r"\) AS written\b"),
        r") AS written CROSS JOIN LATERAL (SELECT CASE WHEN strpos(m, '\\u') = 0 THEN CAST(m AS jsonb) END AS parsed"
        r" LIMIT 1) AS read",
    ),
    (re.compile(r"\bjson_extract\(m, '\$\.\"([^'\"]+)\"'\)"), r"""((parsed ->> '\1') COLLATE "C")"""),
    (
        re.compile(r"\bjson_type\(m, '\$\.\"([^'\"]+)\"'\)"),
        # A whole number that is no BIGINT is `real`, as 2.0 is; one that may be no DOUBLE PRECISION is neither.
        r"(CASE jsonb_typeof(parsed -> '\1') WHEN 'string' THEN 'text' WHEN 'boolean' THEN parsed ->> '\1'"
        r" WHEN 'number' THEN CASE WHEN (parsed ->> '\1') ~ '^-?[0-9]{1,18}$' THEN 'integer'"
        r" WHEN length(parsed ->> '\1') < 300 THEN 'real' ELSE 'long' END"
        r" ELSE CASE WHEN parsed IS NULL THEN 'unread' ELSE jsonb_typeof(parsed -> '\1') END END)",
    ),
)
"""Metadata as the rough filter reads them."""
_QUOTED = re.compile(r"('(?:[^']|'')*')")
_VALUES = re.compile(
    r"(INSERT INTO (\w+ \(([^)]*)\)) VALUES )(\([?, ]+\))((?: ON CONFLICT(?: \(([^)]*)\))? DO (?:NOTHING|UPDATE .*))?)",
    re.DOTALL,
)
"""An insertion whose rows can be written many at a time: all values of a row are parameters."""
_WRITTEN = frozenset({"INSERT", "UPDATE", "DELETE"})


@frozen
class Statement:
    """A statement as Postgres reads it, with `%s` for parameters."""

    text: str
    rows: tuple[str, str, str] | None = None
    """Of an insertion: what comes before the values of a row, the values, and what comes after."""
    once: tuple[int, ...] = ()
    """The places of the parameters that no two rows written together may share: the second would change the first."""
    copy: str = ""
    """Of an insertion that nothing can be in the way of: the COPY that writes its rows."""
    writes: bool = False
    arrays: tuple[int, ...] = ()
    """The places of the parameters that are arrays of numbers, written in JSON."""

    def values(self, parameters: Sequence[Any]) -> Sequence[Any]:
        """Return parameters as Postgres reads them."""
        if not self.arrays:
            return parameters
        values = [*parameters]
        for place in self.arrays:
            values[place] = f"{{{values[place][1:-1]}}}"
        return values


@lru_cache(2048)
def translate(sql: str) -> Statement:
    """Return a statement of the store as Postgres reads it."""
    if sql == DEFER_FOREIGN_KEYS:
        return Statement("SET CONSTRAINTS ALL DEFERRED")
    text = _ARRAY.sub(r"json_\1(?) AS \1", _AMONG.sub(_ANY, _INDEXED_BY.sub("", sql)))
    if " AS written " in text:
        for spelled, new in _READS_JSON:
            text = spelled.sub(new, text)
    word = text.split(None, 1)[0].upper()
    found = _VALUES.fullmatch(text)
    if found is None or "?" in found[5]:
        marks = _MARK.findall("".join(_QUOTED.split(text)[::2]))
        arrays = tuple(place for place, is_array in enumerate(marks) if is_array)
        return Statement(_marked(text), writes=word in _WRITTEN, arrays=arrays)
    before, table, columns, values, after, target = found.groups()
    names = [name.strip() for name in columns.split(",")]
    keys = target.split(",") if target and "DO UPDATE" in after else ()
    once = tuple(names.index(name.strip()) for name in keys)
    copy = "" if after else f"COPY {table} FROM STDIN"
    return Statement(_marked(text), (_marked(before), _marked(values), _marked(after)), once, copy, writes=True)


def _marked(text: str) -> str:
    """Return a text with `%s` in the place of each `?` that is in no string, and with all `%` doubled."""
    parts = _QUOTED.split(text.replace("%", "%%"))
    parts[::2] = [part.replace("?", "%s") for part in parts[::2]]
    return "".join(parts)


def nul_in(parameters: Sequence[Any]) -> str:
    """Return the first text of some parameters with a NUL, shortened, as it is written in Python; empty without one."""
    for value in parameters:
        if isinstance(value, str) and ("\0" in value or "\\u0000" in value):
            place = value.find("\0")
            return ascii(value[max(0, place - 20) : place + 20] if place >= 0 else value[:60])
    return ""
