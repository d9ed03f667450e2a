"""Searches the contexts of a store, in the thread that reads: the index proposes keys, the database has the items."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence

from attrs import frozen

from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import Item
from nexus_core.store import contexts
from nexus_core.store.database import translated
from nexus_core.store.folder import Folder
from nexus_core.store.index import ContextIndex, IndexDamagedError
from nexus_core.store.indexing import IndexState
from nexus_core.store.rows import read_items
from nexus_core.store.values import Context

ITEMS_KEPT = 4096
"""Items that stay in memory after a search, with all that is worked out of them."""


@frozen(eq=False, repr=False)
class _Open:
    generation: str
    newest: int
    index: ContextIndex


class Searching:
    """The connection that reads, the indexes that are open, and the items found last."""

    def __init__(self, folder: Folder, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._folder = folder
        self._open: dict[int, _Open] = {}
        # By key: what a key stands for never changes.
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._kept_vectors: dict[int, int] = {}
        """How many vectors of an item the database has."""

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def search(
        self, name: str, query: str, limit: int, tags: tuple[str, ...] = (), *, behind: bool = False
    ) -> Ranking | None:
        """Return the best items, or `None` where the index is not up to the database or not to be read.

        With `behind`, an index that lacks the newest items will do: another process is about to add them.
        """
        with translated(self._folder.database):
            context = contexts.find(self.connection, name)
            state = IndexState(self.connection, context)
        if not state.generation or not (state.is_current or behind):
            return None
        try:
            index = self._index(context, state)
            if state.is_current and len(index) != state.items:
                return None
            return self._found(index, context, query, limit, tags)
        except IndexDamagedError:
            self._open.pop(context.id, None)
            return None

    def _index(self, context: Context, state: IndexState) -> ContextIndex:
        known = self._open.get(context.id)
        if known is not None and known.generation == state.generation:
            if known.newest == state.newest and len(known.index) == state.items:
                return known.index
            known.index.reload()
            index = known.index
        else:
            index = ContextIndex(self._folder.indexes / f"{context.id}-{state.generation}")
        self._open[context.id] = _Open(state.generation, state.newest, index)
        return index

    def _found(self, index: ContextIndex, context: Context, query: str, limit: int, tags: tuple[str, ...]) -> Ranking:
        """Return the best items that are really there, and have the tags: more are asked for until there are enough."""
        asked = limit if not tags else limit * 8
        while True:
            hits = index.search(query, context.language, asked)
            items = self._items_of([key for key, _ in hits])
            good = [(items[key], score) for key, score in hits if key in items and set(tags) <= {*items[key].tags}]
            if len(good) >= limit or len(hits) < asked:
                break
            asked *= 4
        scores = [score for _, score in good[:limit]]
        found = tuple(item for item, _ in good[:limit])
        ranking = Ranking(found, searched=(context.language, scores))
        return ranking.scored("store", scores, range(len(found)))

    def _items_of(self, keys: Sequence[int]) -> dict[int, Item]:
        """Return the items of the keys that are still there."""
        with translated(self._folder.database):
            there = self._still_there(keys)
            missing = [key for key in there if key not in self._items]
            for key, item in read_items(self.connection, missing).items():
                self._items[key] = item
                self._kept_vectors[key] = _vectors_in(item)
        found = {key: self._items[key] for key in there if key in self._items}
        for key in found:
            self._items.move_to_end(key)
        while len(self._items) > ITEMS_KEPT and len(self._items) > len(found):
            old, _ = self._items.popitem(last=False)
            self._kept_vectors.pop(old, None)
        return found

    def _still_there(self, keys: Sequence[int]) -> list[int]:
        import json

        found = self.connection.execute(
            "SELECT key FROM items WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(list(keys)),)
        )
        return [key for (key,) in found]

    def fresh_vectors(self, items: Sequence[Item]) -> list[tuple[int, str, bytes]]:
        """Return (key, model, vector) of what rankers have added to found items since they were read."""
        wanted = {id(item) for item in items}
        fresh = []
        for key, item in self._items.items():
            if id(item) in wanted and _vectors_in(item) > self._kept_vectors.get(key, 0):
                self._kept_vectors[key] = _vectors_in(item)
                fresh += [(key, name[1], data) for name, data in item.derived.items() if name[0] == "vector"]
        return fresh


def _vectors_in(item: Item) -> int:
    return sum(name[0] == "vector" for name in item.derived)
