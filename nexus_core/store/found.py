"""The items that searches have found, kept in memory as long as there is room."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from sys import getsizeof

from nexus_core.contract.values import Item
from nexus_core.store.rows import read_items
from nexus_core.store.values import Context

ITEMS_KEPT = 4096
BYTES_KEPT = 64 * 2**20
"""Of text, and what is kept with it."""
_SELF = ("store", "row")
"""What an item's key, and the models whose vectors the database has of it, are kept under with the item."""
_FIGURES = 5
"""How much larger an item is than its text, with its passages and token counts."""
_EACH = 4096


class FoundItems:
    """Items by key: what a key stands for never changes, so that only what is gone has to be known."""

    def __init__(self) -> None:
        self._items: OrderedDict[int, tuple[Item, int]] = OrderedDict()
        self._bytes = 0

    def of(self, connection: sqlite3.Connection, context: Context, keys: Sequence[int]) -> dict[int, Item]:
        """Return the items of a context with these keys that are still there."""
        there = [
            key
            for (key,) in connection.execute(
                "SELECT key FROM items WHERE context_id = ? AND key IN (SELECT value FROM json_each(?))",
                (context.id, json.dumps(keys)),
            )
        ]
        known = self._items
        read = read_items(connection, missing) if (missing := [key for key in there if key not in known]) else {}
        for key, item in read.items():
            item.derived[_SELF] = (key, _models(item))
            size = getsizeof(item.text) * _FIGURES + _EACH
            known[key] = (item, size)
            self._bytes += size
        found = {key: known[key][0] for key in there if key in known}
        for key in found:
            known.move_to_end(key)
        while known and (len(known) > ITEMS_KEPT or self._bytes > BYTES_KEPT):
            _, (_, size) = known.popitem(last=False)
            self._bytes -= size
        return found


def fresh_vectors(items: Sequence[Item]) -> list[tuple[int, str, bytes]]:
    """Return (key, model, vector) of what rankers have added to found items and no database has; once for each."""
    fresh = []
    for item in items:
        row = item.derived.get(_SELF)
        if row is None:
            continue
        key, known = row
        models = _models(item)
        if models != known:
            item.derived[_SELF] = (key, models)
            fresh += [(key, model, item.derived["vector", model]) for model in models if model not in known]
    return fresh


def _models(item: Item) -> tuple[str, ...]:
    return tuple([name[1] for name in [*item.derived] if name[0] == "vector"])
