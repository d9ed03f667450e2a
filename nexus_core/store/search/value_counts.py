"""How many items of a context have each value of a field: a tag, a kind, something of the metadata."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator

from nexus_core.store.items.fronts import METADATA
from nexus_core.store.items.rows import page_of_keys
from nexus_core.store.records import Context
from nexus_core.store.search.visibility import VisibleKeys
from nexus_core.toolkit.filters import OWN_FIELDS, values_of

_PAGE = 2000


def count_values(
    connection: sqlite3.Connection, context: Context, field: str, visible: VisibleKeys | None
) -> dict[str, int]:
    """Return the number of items by value, the most first; of a list each element counts once."""
    counts: Counter[str] = Counter()
    for keys in _pages(connection, context, visible):
        told = json.dumps(keys)
        for values in _values(connection, context, field, told):
            counts.update(
                {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values}
            )
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _pages(connection: sqlite3.Connection, context: Context, visible: VisibleKeys | None) -> Iterator[list[int]]:
    if visible is not None:
        every = visible.listed
        yield from (every[start : start + _PAGE] for start in range(0, len(every), _PAGE))
        return
    after = 0
    while keys := page_of_keys(connection, context, after=after, limit=_PAGE):
        yield keys
        after = keys[-1]


def _values(connection: sqlite3.Connection, context: Context, field: str, told: str) -> Iterable[list[object]]:
    some = "items.key IN (SELECT value FROM json_each(?)) AND +items.context_id = ?"
    if field == "tags":
        rows = connection.execute(
            f"SELECT tag FROM tags JOIN items ON items.key = item_key WHERE {some}", (told, context.id)
        )
        return [[tag] for (tag,) in rows]
    column = field if field in OWN_FIELDS else METADATA
    rows = connection.execute(f"SELECT {column} FROM items WHERE {some}", (told, context.id))
    if field in OWN_FIELDS:
        return [[value] for (value,) in rows if value]
    return [[*values_of(field, {}, json.loads(written))] for (written,) in rows]
