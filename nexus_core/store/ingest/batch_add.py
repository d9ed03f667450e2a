"""Adds items to a context in batches, each a transaction, and its index beside them; in the thread that writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

from nexus_core.contract.values import Item
from nexus_core.store.database.connection import transaction
from nexus_core.store.items import rows
from nexus_core.store.items.prepare import ItemPreparer, PreparedItem
from nexus_core.store.records import Added, Context
from nexus_core.store.search.index_updates import IndexUpdate, IndexUpdater
from nexus_core.store.search.indexes import IndexDamagedError

BATCH = 2_000
"""Items that are written in one transaction, and their characters: what comes first."""
_BATCH_CHARACTERS = 8_000_000
INDEXED_AT_ONCE = 40_000
"""After so many items the index of a long addition is committed, and others find them."""

_log = logging.getLogger(__name__)


class BatchAdd:
    """One addition under way. Where another one has the index, it takes up these items, too."""

    def __init__(self, indexing: IndexUpdater, context: Context, items: Iterator[Item]) -> None:
        self.total = Added()
        self._indexing = indexing
        self._context = context
        self._items = items
        self._prepare = ItemPreparer(context.language, context.encoding)
        self._update: IndexUpdate | None = None
        self._turn = ExitStack()
        self._is_ours = self._turn.enter_context(indexing.turn(context, 0.0))

    def step(self) -> bool:
        """Add the next batch, and tell whether there was one."""
        some = self._batch()
        if not some:
            return False
        prepared = self._prepare.all(some)
        with transaction(self._indexing.connection, self._indexing.folder.database) as connection:
            added, written = rows.write_items(connection, self._context, prepared)
        self.total += added
        if self._is_ours and written:
            try:
                self._index(written)
            except IndexDamagedError as error:  # it is built anew at the end
                _log.warning("the index of %r is built anew: %s", self._context.name, error)
                self._update = None
        return True

    def _batch(self) -> list[Item]:
        some, characters = [], 0
        for item in islice(self._items, BATCH):
            some.append(item)
            characters += len(item.text)
            if characters > _BATCH_CHARACTERS:
                break
        return some

    def _index(self, written: list[tuple[int, PreparedItem]]) -> None:
        if self._update is None or not self._update.is_open:
            self._update = IndexUpdate(self._indexing, self._context)
        self._update.add(written)
        self._update.publish(INDEXED_AT_ONCE)

    def finish(self, *, has_failed: bool = False) -> None:
        """Bring the index up to all that was written; after a failure as far as that goes."""
        update, self._update = self._update, None
        try:
            self._indexing.complete(self._context, update, ours=self._is_ours, has_failed=has_failed)
        finally:
            self._turn.close()
