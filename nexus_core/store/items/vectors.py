"""Vectors of items at rest: cut into parts of a size of which a page of the database holds many.

A page takes whole rows, so that rows of half a page and more would leave up to half of it empty. And they are added in
the order in which they are worked out, since pages that are filled at random places are a third empty.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from nexus_core.contract.errors import UsageError
from nexus_core.contract.features import vector_key
from nexus_core.contract.values import Item
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import checked_name
from nexus_core.toolkit.suggest import counted

_PAGE = 4088
"""Bytes of a page of the database that rows may take."""
_ROW = 22
"""Bytes that a row takes besides its part ..."""
_ENTRY = 20
"""... and in the index."""
_LEAST = 256
"""Bytes of a part."""
_VECTOR = vector_key("").name
_PARTS = (
    "SELECT item_key, name, data FROM vector_parts JOIN vector_models ON vector_models.id = model_id"
    " WHERE item_key IN (SELECT value FROM json_each(?) AS numbers) ORDER BY item_key, model_id, part"
)
_VECTORS = (
    "SELECT item_key, name, part, data FROM vector_parts JOIN vector_models ON vector_models.id = model_id"
    " WHERE item_key IN (SELECT value FROM json_each(?) AS numbers)"
    " UNION ALL SELECT item_key, model, NULL, data FROM vectors"
    " WHERE item_key IN (SELECT value FROM json_each(?) AS numbers) ORDER BY item_key, name, part"
)
"""With those that an older version has kept, which are no parts."""
HAS_VECTORS = (
    "(EXISTS (SELECT 1 FROM vector_parts WHERE vector_parts.item_key = items.key)"
    " OR EXISTS (SELECT 1 FROM vectors WHERE vectors.item_key = items.key))"
)
"""Whether a row of `items` has any, as an expression of SQL."""


@lru_cache
def part_size(length: int) -> int:
    """Return the size of the parts, alike as far as possible, in which so many bytes take the least room."""

    def room(count: int) -> float:
        rows = _PAGE // (-(-length // count) + _ROW)
        return count * (_PAGE / rows + _ENTRY) if rows else float("inf")

    best = min(range(1, length // _LEAST + 2), key=room)
    return max(1, -(-length // best))


def keep_vectors(connection: SqlConnection, vectors: Iterable[tuple[int, str, bytes]]) -> None:
    """Keep (key, model, vector) of items that are still there, the last of several of an item by one model."""
    latest: dict[str, dict[int, bytes]] = {}
    for key, model, data in vectors:
        latest.setdefault(model, {})[key] = data
    for model, kept in latest.items():
        number, told = _number_of(connection, model), json.dumps([*kept])
        connection.execute(
            "DELETE FROM vector_parts WHERE item_key IN (SELECT value FROM json_each(?) AS numbers) AND model_id = ?",
            (told, number),
        )
        found = connection.execute(
            "SELECT key FROM items WHERE key IN (SELECT value FROM json_each(?) AS numbers)", (told,)
        )
        there = {key for (key,) in found}
        connection.executemany(
            "INSERT INTO vector_parts (item_key, model_id, part, data) VALUES (?, ?, ?, ?)",
            [
                (key, number, part, data[start : start + size])
                for key, data in kept.items() if key in there
                for size in [part_size(len(data))]
                for part, start in enumerate(range(0, len(data), size))
            ],
        )  # fmt: skip


def own_vectors(item: Item) -> dict[str, bytes]:
    """Return the vectors that come with an item, by model; raises UsageError for what can be none."""
    found = {}
    for key, data in item.features.items():
        if key.name == _VECTOR:
            problem = _problem(data)
            if problem:
                raise UsageError(
                    f"item {ascii(item.id)[:80]}: its vectors are {problem}: give the bytes of halves, one vector after"
                    " the other"
                )
            found[checked_name(str(key.parameter), f"item {ascii(item.id)[:80]}: the model of its vectors")] = data
    return found


def _problem(data: object) -> str:
    if not isinstance(data, bytes):
        return f"of type {type(data).__name__}"
    size = struct.calcsize("<e")
    if not data or len(data) % size:
        return counted(len(data), "byte")
    # The exponent of what is not finite is all ones.
    is_finite = all(number & 0x7C00 != 0x7C00 for number in struct.unpack(f"<{len(data) // size}H", data))
    return "" if is_finite else "not all finite numbers"


def other_vectors(connection: SqlConnection, own: Mapping[int, Mapping[str, bytes]]) -> set[int]:
    """Return the keys of the items that are kept with other vectors than these, or with none of a model."""
    kept: dict[tuple[int, str], bytes] = {}
    for key, model, data in connection.execute(_PARTS, (json.dumps([*own]),)):
        kept[key, model] = kept.get((key, model), b"") + data
    return {
        key for key, vectors in own.items() if any(kept.get((key, model)) != data for model, data in vectors.items())
    }


def _number_of(connection: SqlConnection, model: str) -> int:
    connection.execute("INSERT INTO vector_models (name) VALUES (?) ON CONFLICT DO NOTHING", (model,))
    return int(connection.execute("SELECT id FROM vector_models WHERE name = ?", (model,)).fetchone()[0])


def give_vectors(connection: SqlConnection, items: dict[int, Item]) -> None:
    """Put the kept vectors with items, by their keys."""
    for (key, model), data in vectors_of(connection, items).items():
        items[key].features.put(vector_key(model), data)


def vectors_of(connection: SqlConnection, keys: Iterable[int]) -> dict[tuple[int, str], bytes]:
    """Return the kept vectors of some items, by key and model."""
    told = json.dumps([*keys])
    parts: dict[tuple[int, str], list[bytes]] = {}
    older: dict[tuple[int, str], bytes] = {}
    for key, model, part, data in connection.execute(_VECTORS, (told, told)):
        if part is None:
            older[key, model] = data
        else:
            parts.setdefault((key, model), []).append(data)
    return older | {place: b"".join(some) for place, some in parts.items()}


def drop_vectors(connection: SqlConnection, keys: Iterable[int], model: str) -> None:
    """Delete the vectors that some items have under a name."""
    connection.execute(
        "DELETE FROM vector_parts WHERE item_key IN (SELECT value FROM json_each(?) AS numbers)"
        " AND model_id = (SELECT id FROM vector_models WHERE name = ?)",
        (json.dumps([*keys]), model),
    )


def move_older(connection: SqlConnection, keys: Sequence[int]) -> None:
    """Move the vectors of items from where an older version kept them; to be called in a transaction."""
    told = json.dumps([*keys])
    some = "FROM vectors WHERE item_key IN (SELECT value FROM json_each(?) AS numbers)"
    found = connection.execute(f"SELECT item_key, model, data {some}", (told,)).fetchall()
    if found:
        keep_vectors(connection, found)
        connection.execute(f"DELETE {some}", (told,))
