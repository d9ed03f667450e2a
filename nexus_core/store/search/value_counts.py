"""How many items of a context have each value of a field: a tag, a kind, something of the metadata."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.fronts import METADATA
from nexus_core.store.items.rows import page_of_keys
from nexus_core.store.records import Context
from nexus_core.store.search.visibility import VisibleKeys
from nexus_core.toolkit.filters import OWN_FIELDS, values_of

_PAGE = 2000


def count_page(
    connection: SqlConnection, context: Context, field: str, visible: VisibleKeys | None, after: int
) -> tuple[Counter[str], int | None]:
    """Return the number of items by value among the next after a key, and the key after which to go on, if at all."""
    if visible is None:
        keys = page_of_keys(connection, context, after=after, limit=_PAGE)
    else:
        start = int(visible.keys.searchsorted(after, "right"))
        keys = visible.keys[start : start + _PAGE].tolist()
    counts: Counter[str] = Counter()
    for values in _values(connection, context, field, json.dumps(keys)):
        counts.update({value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values})
    return counts, keys[-1] if len(keys) == _PAGE else None


def most_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts in the order in which they are told."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _values(connection: SqlConnection, context: Context, field: str, told: str) -> Iterable[list[object]]:
    some = "items.key IN (SELECT value FROM json_each(?) AS numbers) AND +items.context_id = ?"
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
