"""What searches have found, kept in memory as long as there is room: items, and what they are scored by."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from sys import getsizeof
from typing import Generic, TypeVar

from nexus_core.contract.values import Item
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.passage_codec import codes_in
from nexus_core.store.items.rows import read_items, stored_language
from nexus_core.store.records import Context
from nexus_core.store.search.fresh_vectors import FreshVectors
from nexus_core.store.search.rescoring import stream_of
from nexus_core.toolkit.text.languages import DEFAULT
from nexus_core.toolkit.text.sentence_figures import figures_key

ITEMS_KEPT, ITEM_BYTES_KEPT = 4096, 64 * 2**20
"""Items, and bytes of text and what is kept with it."""
STREAMS_KEPT, STREAM_BYTES_KEPT = 1 << 16, 16 * 2**20
ID_BYTES_KEPT = 8 * 2**20
_FIGURES = 5
"""How much larger an item is than its text, with its passages and token counts."""
_EACH = 4096

_T = TypeVar("_T")


class LruCache(Generic[_T]):
    """The values used last, by key, as many as there is room for."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._values: OrderedDict[int, tuple[_T, int]] = OrderedDict()
        self._most, self._most_bytes = most, most_bytes
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: int) -> _T | None:
        """Return a value, and keep it longer."""
        known = self._values.get(key)
        if known is None:
            return None
        self._values.move_to_end(key)
        return known[0]

    def put(self, key: int, value: _T, size: int) -> None:
        """Keep a value of so many bytes, and let go of those that have not been used for longest."""
        if key in self._values:
            return
        self._values[key] = (value, size)
        self.bytes += size
        while self.bytes > self._most_bytes or len(self._values) > self._most:
            _, (_, gone) = self._values.popitem(last=False)
            self.bytes -= gone


class ItemCache:
    """Items by key: what a key stands for never changes, so that only what is gone has to be known."""

    def __init__(self, fresh: FreshVectors) -> None:
        self.fresh = fresh
        """Takes notice of vectors that are put with the items."""
        self.items: LruCache[Item] = LruCache(ITEMS_KEPT, ITEM_BYTES_KEPT)
        self.streams: LruCache[bytes] = LruCache(STREAMS_KEPT, STREAM_BYTES_KEPT)
        """What items are scored by."""
        self.ids: LruCache[str] = LruCache(STREAMS_KEPT, ID_BYTES_KEPT)

    def items_of(self, connection: SqlConnection, keys: Sequence[int]) -> dict[int, Item]:
        """Return the items with these keys; all of them are there."""
        found = {key: item for key in keys if (item := self.items.get(key)) is not None}
        missing = [key for key in keys if key not in found]
        for key, item in read_items(connection, missing).items() if missing else ():
            self.fresh.watch(key, item)
            self.items.put(key, item, getsizeof(item.text) * _FIGURES + _EACH)
            found[key] = item
        return found

    def ids_of(self, connection: SqlConnection, keys: Sequence[int]) -> dict[int, str]:
        """Return the ids of items; all of them are there."""
        found = {key: known for key in keys if (known := self.ids.get(key)) is not None}
        missing = [key for key in keys if key not in found]
        told = "SELECT key, id FROM items WHERE key IN (SELECT value FROM json_each(?) AS numbers)"
        for key, name in connection.execute(told, (json.dumps(missing),)).fetchall() if missing else ():
            self.ids.put(key, name, getsizeof(name))
            found[key] = name
        return found

    def streams_of_items(self, connection: SqlConnection, context: Context, keys: Sequence[int]) -> dict[int, bytes]:
        """Return the same, where the items themselves will be asked for, too: they are read once."""
        there = still_there(connection, context, keys)
        found = {}
        for key, item in self.items_of(connection, there).items():
            kept = self.streams.get(key)
            if kept is None:
                known = item.features.get(figures_key(context.encoding))
                codes = known.codes if known is not None else None
                kept = stream_of(item.title, item.text, codes, stored_language(item, context))
                self.streams.put(key, kept, getsizeof(kept))
                self.ids.put(key, item.id, getsizeof(item.id))
            found[key] = kept
        return {key: found[key] for key in there if key in found}

    def streams_of(self, connection: SqlConnection, context: Context, keys: Sequence[int]) -> dict[int, bytes]:
        """Return what the items are scored by that are in the context still, in the order of the keys."""
        known = {key: stream for key in keys if (stream := self.streams.get(key)) is not None}
        found = {}
        for key, name, stream in _read_streams(connection, context, keys, known) if keys else ():
            if key not in known:
                self.streams.put(key, stream, getsizeof(stream))
                self.ids.put(key, name, getsizeof(name))
            found[key] = stream
        return {key: found[key] for key in keys if key in found}


def still_there(
    connection: SqlConnection, context: Context, keys: Sequence[int], tags: Iterable[str] = ()
) -> list[int]:
    """Return those of the keys whose items are in the context and have all of the tags, in the same order."""
    told = json.dumps(keys)
    found = {
        key
        for (key,) in connection.execute(
            "SELECT key FROM items INDEXED BY items_of_contexts"  # rows are wide, and not all of them are read
            " WHERE context_id = ? AND key IN (SELECT value FROM json_each(?) AS numbers)",
            (context.id, told),
        )
    }
    for tag in tags:
        found &= {
            key
            for (key,) in connection.execute(
                "SELECT item_key FROM tags WHERE tag = ? AND item_key IN (SELECT value FROM json_each(?) AS numbers)",
                (tag, told),
            )
        }
    return [key for key in keys if key in found]


def _read_streams(
    connection: SqlConnection, context: Context, keys: Sequence[int], known: Mapping[int, bytes]
) -> Iterable[tuple[int, str, bytes]]:
    """Yield what the items in the context are scored by, with their ids; of those that are known no row is read."""
    rows = connection.execute(
        "SELECT key, id, title, language, data FROM items LEFT JOIN figures ON item_key = key AND encoding = ?"
        " WHERE key IN (SELECT value FROM json_each(?) AS numbers) AND +context_id = ?"  # by key, not by an index
        " UNION ALL SELECT key, NULL, NULL, NULL, NULL FROM items INDEXED BY items_of_contexts"
        " WHERE context_id = ? AND key IN (SELECT value FROM json_each(?) AS numbers)",
        (context.encoding, json.dumps([key for key in keys if key not in known]), context.id, context.id,
         json.dumps([*known])),
    ).fetchall()  # fmt: skip
    for key, name, title, language, data in rows:
        if key in known:
            yield key, "", known[key]
            continue
        codes = codes_in(data) if data is not None else None
        text = None
        if codes is None:
            (text,) = connection.execute("SELECT text FROM items WHERE key = ?", (key,)).fetchone()
        yield key, name, stream_of(title, text, codes, language or DEFAULT)
