"""Keeps the index of each context up to the database: after items were added, and whenever it is behind."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex

from filelock import FileLock, Timeout

from nexus_core.contract.errors import StoreError
from nexus_core.store.database import transaction, translated
from nexus_core.store.folder import Folder
from nexus_core.store.index import FORMAT, ContextIndex, IndexDamagedError, IndexWriter, delete
from nexus_core.store.preparing import Prepared, index_terms
from nexus_core.store.rows import page_of_keys, read_items
from nexus_core.store.values import Context

_PAGE = 1000

_log = logging.getLogger(__name__)


class IndexState:
    """What the database says of the index of a context, beside what it says of the context."""

    def __init__(self, connection: sqlite3.Connection, context: Context) -> None:
        found = connection.execute(
            "SELECT generation, indexes.newest, contexts.newest, contexts.items,"
            " EXISTS (SELECT 1 FROM removals WHERE context_id = contexts.id)"
            " FROM contexts LEFT JOIN indexes ON context_id = contexts.id WHERE contexts.id = ?",
            (context.id,),
        ).fetchone()
        if found is None:
            raise StoreError(f"the context {context.name!r} was deleted meanwhile")
        self.generation: str = found[0] or ""
        self.newest: int = found[1] or 0
        """The largest key that is in the index."""
        self.items: int = found[3]
        self.is_current = bool(self.generation) and self.newest >= found[2] and not found[4]


class Indexing:
    """The indexes of one store, for the thread that writes."""

    def __init__(self, folder: Folder, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.connection = connection

    @contextmanager
    def turn(self, context: Context, wait_s: float) -> Iterator[bool]:
        """Give whether this process may write the index now; another one may be at it."""
        lock = FileLock(self.folder.lock(f"index-{context.id}"), mode=0o600)
        try:
            lock.acquire(timeout=wait_s)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def catch_up(self, context: Context, *, wait_s: float = 0.0) -> bool:
        """Bring the index up to the database, from nothing if need be; returns whether it is now.

        False where another process was at it for all the time.
        """
        with self.turn(context, wait_s) as ours:
            if ours:
                self.bring_up(context)
            return ours

    def bring_up(self, context: Context) -> None:
        """Do that, by whoever has the turn."""
        try:
            if self._updated(context):
                return
        except IndexDamagedError as error:
            _log.warning("the index of %r is built anew: %s", context.name, error)
        self.rebuild(context)

    def _updated(self, context: Context) -> bool:
        """Update the index, and tell whether it holds as many items as there are."""
        update = IndexUpdate(self, context)
        update.finish()
        state = IndexState(self.connection, context)
        return not state.is_current or len(update.index) == state.items  # not current: somebody has written meanwhile

    def rebuild(self, context: Context) -> None:
        """Build the index anew."""
        with transaction(self.connection, self.folder.database):
            self.connection.execute("DELETE FROM indexes WHERE context_id = ?", (context.id,))
        if not self._updated(context):
            raise StoreError(f"the index of {context.name!r} does not come out right: run `nexus context check`")


class IndexUpdate:
    """One series of changes to the index of a context; who makes it has the turn."""

    def __init__(self, indexing: Indexing, context: Context) -> None:
        self._connection = indexing.connection
        self._database = indexing.folder.database
        self._folder = indexing.folder
        self._context = context
        state = IndexState(self._connection, context)
        self.newest = state.newest
        self._begin(state)
        self._done: list[range] = []
        """The keys that were added here, in one range for each batch."""

    def _begin(self, state: IndexState) -> None:
        root = self._folder.indexes
        if state.generation.startswith(FORMAT):
            self.index = ContextIndex(root / f"{self._context.id}-{state.generation}")
        else:
            generation = f"{FORMAT}-{token_hex(8)}"
            self.index = ContextIndex(root / f"{self._context.id}-{generation}", create=True)
            self.newest = 0
            with transaction(self._connection, self._database):
                self._connection.execute(
                    "INSERT INTO indexes (context_id, generation, newest) VALUES (?, ?, 0)"
                    " ON CONFLICT DO UPDATE SET generation = excluded.generation, newest = 0",
                    (self._context.id, generation),
                )
            for other in root.glob(f"{self._context.id}-*"):
                if other != self.index.path:
                    delete(other)
        self._writer: IndexWriter = self.index.writer()

    def add(self, rows: Sequence[tuple[int, Prepared]]) -> None:
        """Add items that have just been written, in a batch of neighbouring keys."""
        if rows:
            for key, prepared in rows:
                self._writer.add(key, prepared.words, prepared.pairs)
            self._done.append(range(rows[0][0], rows[-1][0] + 1))

    def finish(self) -> None:
        """Add what others have written, remove what is gone, and say in the database how far the index has come."""
        newest = self._add_missing()
        with translated(self._database):
            gone = [
                key
                for (key,) in self._connection.execute(
                    "SELECT item_key FROM removals WHERE context_id = ?", (self._context.id,)
                )
            ]
        self._writer.remove(gone)
        self._writer.commit()
        self._writer.close()
        self.index.reload()
        with transaction(self._connection, self._database):
            self._connection.execute("UPDATE indexes SET newest = ? WHERE context_id = ?", (newest, self._context.id))
            self._connection.executemany(
                "DELETE FROM removals WHERE context_id = ? AND item_key = ?",
                ((self._context.id, key) for key in gone),
            )

    def _add_missing(self) -> int:
        """Add the items after the newest in the index that were not added here; returns the newest of all."""
        newest = self.newest
        while True:
            with translated(self._database):
                keys = page_of_keys(self._connection, self._context, after=newest, limit=_PAGE)
            if not keys:
                return newest
            newest = keys[-1]
            left = [key for key in keys if not any(key in span for span in self._done)]
            self._writer.remove(left)  # a crash may have come between the index and the database
            with translated(self._database):
                found = read_items(self._connection, left)
            for key, item in found.items():
                self._writer.add(key, *index_terms(item, self._context.language))
