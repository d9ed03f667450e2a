"""Tags of items that are there: a change makes a row with a new key, as any change, and moves all figures to it."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from attrs import evolve

from nexus_core.contract.errors import UsageError
from nexus_core.store.database.sql import DEFER_FOREIGN_KEYS, SqlConnection
from nexus_core.store.items.fronts import metadata_of
from nexus_core.store.items.removals import note_removals
from nexus_core.store.items.rows import keys_of, next_keys, read_items
from nexus_core.store.records import Context, checked_name, digest_of

_PAGE = 200
_MOVES = (
    "UPDATE tags SET item_key = ? WHERE item_key = ?",
    "UPDATE links SET item_key = ? WHERE item_key = ?",
    "UPDATE figures SET item_key = ? WHERE item_key = ?",
    # New rows, since an index of vectors knows those up to a key.
    "INSERT INTO vector_parts (item_key, model_id, part, data)"
    " SELECT ?, model_id, part, data FROM vector_parts WHERE item_key = ? ORDER BY key",
    "UPDATE vectors SET item_key = ? WHERE item_key = ?",
)


def tag_items(
    connection: SqlConnection, context: Context, ids: Sequence[str], add: Sequence[str], remove: Sequence[str]
) -> int:
    """Add and remove tags of items; returns how many items have changed. To be called in a transaction."""
    for tag in (*add, *remove):
        checked_name(tag, "a tag")
    both = sorted({*add} & {*remove})
    if both:
        raise UsageError(f"the tag {both[0]!r} is to be added and to be removed: name it once")
    keys = sorted(keys_of(connection, context, ids).values())
    return sum(
        _tag_page(connection, context, keys[start : start + _PAGE], {*add}, {*remove})
        for start in range(0, len(keys), _PAGE)
    )


def _tag_page(connection: SqlConnection, context: Context, keys: Sequence[int], add: set[str], remove: set[str]) -> int:
    changed = []
    for old, item in read_items(connection, keys).items():
        tags = tuple(sorted((add | {*item.tags}) - remove))
        if {*tags} != {*item.tags}:
            metadata = metadata_of(connection, old) or "{}"
            changed.append((old, digest_of(evolve(item, tags=tags), metadata), tags))
    if not changed:
        return 0
    first = next_keys(connection, len(changed))
    connection.execute(DEFER_FOREIGN_KEYS)  # up to the end of the transaction: what is moved is in parts
    for new, (old, digest, tags) in enumerate(changed, first):
        connection.execute("UPDATE items SET key = ?, digest = ? WHERE key = ?", (new, digest, old))
        for move in _MOVES:
            connection.execute(move, (new, old))
        connection.execute("DELETE FROM vector_parts WHERE item_key = ?", (old,))
        connection.execute("DELETE FROM tags WHERE item_key = ?", (new,))
        connection.executemany("INSERT INTO tags (item_key, tag) VALUES (?, ?)", ((new, tag) for tag in tags))
    note_removals(connection, context, [old for old, _, _ in changed])
    connection.execute(
        "UPDATE contexts SET newest = ?, changed = ? WHERE id = ?", (first + len(changed) - 1, time(), context.id)
    )
    return len(changed)
