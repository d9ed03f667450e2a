"""Keeps the index of each context up to the database: after items were added, and whenever it is behind.

An index is a folder of its own, named in the database once it is complete. It is changed by whoever holds the lock of
the context, and the database says up to which key and which removal it has come, always after the index itself: what
the index is ahead by, after a crash between the two, is taken out again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex
from time import sleep

from filelock import FileLock, Timeout

from nexus_core.contract.errors import StoreError
from nexus_core.store.database.connection import NO_SPACE, snapshot, storage_error, transaction, translated
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import SqlConnection, copies_of
from nexus_core.store.items.prepare import PreparedItem, index_terms
from nexus_core.store.items.removals import LAST, forget_removals, removals_after
from nexus_core.store.items.rows import page_of_keys, read_items, stored_language
from nexus_core.store.records import Context
from nexus_core.store.search.indexes import IndexDamagedError, WordIndexes
from nexus_core.store.search.tantivy_index import FORMAT
from nexus_core.toolkit.suggest import counted

_PAGE = 1000
_SMALL_PAGE, _YIELDS, _YIELD_S = 100, 10, 2e-4
"""In the background: items that are read at a time, and how often, and for how long, others get the interpreter. A
search wants it back after each of its statements, and would wait 5 ms each time."""

_log = logging.getLogger(__name__)

Restore = Callable[["IndexUpdater", Context], bool]
"""Puts an index of a context in place, if it can, and tells whether it has; called by who has the turn."""


class IndexState:
    """What the database says of the index of a context, beside what it says of the context."""

    def __init__(
        self, connection: SqlConnection, context: Context, found: tuple[int, int, int, int] | None = None
    ) -> None:
        """Look, unless the row of the context was `found` just now: its newest, items, removed and analyzer."""
        found = (
            found
            or connection.execute(
                "SELECT newest, items, removed, analyzer FROM contexts WHERE id = ?",
                (context.id,),
            ).fetchone()
        )
        if found is None:
            raise StoreError(f"the context {context.name!r} was deleted meanwhile")
        copies = copies_of(connection)
        index = copies.execute("SELECT generation, newest, removed FROM indexes WHERE context_id = ?", (context.id,))
        generation, newest, removed = index.fetchone() or ("", 0, 0)
        if copies is not connection and _copied_words(copies, context.id) != found[3]:
            generation = ""  # another server has made the words anew since
        self.generation: str = generation if generation.startswith(f"{FORMAT}-") else ""
        """Empty where there is no index of this format."""
        self.newest: int = newest if self.generation else 0
        """The largest key that is in the index."""
        self.last: int = found[0]
        """The largest key that was ever written to the context."""
        self.items: int = found[1]
        self.removed: int = removed if self.generation else 0
        """The number of the last removal that the index has taken."""
        self.last_removed: int = found[2]
        """That of the last one there is."""
        self.analyzer: int = found[3]
        """The version by which the words of the context were made."""
        self.is_current = bool(self.generation) and self.newest >= self.last and self.removed >= self.last_removed


class IndexUpdater:
    """The indexes of one store, for the thread that writes."""

    def __init__(
        self, folder: StorePaths, connection: SqlConnection, words: WordIndexes, restore: Restore | None = None
    ) -> None:
        """Take where they are, their engine, and what may put one there that another server has made."""
        self.folder = folder
        self.connection = connection
        self.words = words
        self.restore = restore

    @contextmanager
    def turn(self, context: Context, wait_s: float) -> Iterator[bool]:
        """Give whether this process may write the index now; another one may be at it, or the folder read-only."""
        lock = FileLock(self.folder.lock(f"index-{context.id}"), mode=0o600)
        try:
            lock.acquire(timeout=wait_s)
        except Timeout:
            yield False
            return
        except OSError as error:
            if error.errno in NO_SPACE:
                raise storage_error(error, f"the store at {self.folder.root}") from error
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def state(self, context: Context) -> IndexState:
        """Return what the database says of an index now."""
        with translated(self.folder.database):
            return IndexState(self.connection, context)

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
            state = self.state(context)
            if state.generation or state.items:
                IndexUpdate(self, context).finish()
        except IndexDamagedError as error:
            _log.warning("the index of %r is built anew: %s", context.name, error)
            self.rebuild(context)

    def advance(self, context: Context, most: int) -> bool:
        """Bring an index that there is up by so many items at most; returns whether there may be more to do.

        One that is to be built anew, or that another process is at, is left alone: searches see to it.
        """
        with self.turn(context, 0.0) as ours:
            state = self.state(context)
            if not ours or not state.generation or state.is_current:
                return False
            try:
                IndexUpdate(self, context).finish(most=most)
            except IndexDamagedError as error:
                _log.warning("the index of %r is built anew with the next search: %s", context.name, error)
                copies_of(self.connection).execute("DELETE FROM indexes WHERE context_id = ?", (context.id,))
                return False
            return not self.state(context).is_current

    def complete(self, context: Context, update: IndexUpdate | None, *, ours: bool, has_failed: bool) -> None:
        """Bring the index up at the end of an addition, with its own update if there is one.

        `ours` tells whether the addition had the turn; after a failure it goes as far as that goes. An update that was
        abandoned is not gone on with: another one begins at what the database says.
        """
        try:
            if update is not None and update.is_open:
                update.finish()
            elif ours:
                self.bring_up(context)
            else:
                self.catch_up(context)
        except IndexDamagedError as error:
            _log.warning("the index of %r is built anew: %s", context.name, error)
            self.rebuild(context)
        except StoreError:
            if not has_failed:
                raise

    def rebuild(self, context: Context) -> None:
        """Build the index anew; the one there is, if any, is used by others until then."""
        try:
            IndexUpdate(self, context, anew=True).finish()
        except IndexDamagedError as error:
            raise StoreError(
                f"the index of {context.name!r} does not come out right ({error}): run `nexus context check`"
            ) from error


class IndexUpdate:
    """One series of changes to the index of a context; who makes it has the turn.

    Raises IndexDamagedError, from any of its methods, where the index is to be built anew. After any error it is
    abandoned: it cannot be gone on with, and says so with a StoreError, but another one can be begun.
    """

    def __init__(self, indexing: IndexUpdater, context: Context, *, anew: bool = False) -> None:
        self._connection = indexing.connection
        self._database = indexing.folder.database
        self._words = indexing.words
        self._context = context
        with translated(self._database):
            state = IndexState(self._connection, context)
            is_missing = not anew and not state.generation and state.items
            if is_missing and indexing.restore is not None and indexing.restore(indexing, context):
                state = IndexState(self._connection, context)
        self._generation = "" if anew else state.generation
        self.newest = state.newest if self._generation else 0
        """The largest key up to which the index has all items."""
        # What goes from now on is taken out again: an index that is built anew may have read it before.
        self._removed = state.removed if self._generation else state.last_removed
        self._own: list[tuple[int, int]] = []
        """First and last of the keys that were added here since; none between them is missing."""
        self._uncommitted = 0
        self._begin()

    def _begin(self) -> None:
        self._is_new = not self._generation
        if self._is_new:
            self._generation = f"{FORMAT}-{token_hex(8)}"
        self._name = f"{self._context.id}-{self._generation}"
        try:
            self.index = self._words.create(self._name) if self._is_new else self._words.open(self._name)
            self._writer = self.index.writer()
        except BaseException:
            if self._is_new:
                self._words.delete(self._name)
            raise
        with self._lets_go():
            if self.index.count_newer(self.newest):
                self._writer.remove_newer(self.newest)

    @property
    def is_open(self) -> bool:
        """Whether it can be gone on with: it is neither finished nor abandoned."""
        return self._writer.is_open

    @contextmanager
    def _lets_go(self) -> Iterator[None]:
        """Let go of the index after an error: whoever comes next can write it, and none is left that nobody knows."""
        try:
            yield
        except BaseException:
            self._writer.abandon()
            if self._is_new:
                self._words.delete(self._name)
            raise

    def add(self, rows: Sequence[tuple[int, PreparedItem]]) -> None:
        """Add items that have just been written, by this process, in one transaction."""
        fresh = [row for row in rows if row[0] > self.newest]
        with self._lets_go():
            for key, prepared in fresh:
                self._writer.add(key, prepared.words)
        if fresh:
            first, last = fresh[0][0], fresh[-1][0]
            if self._own and self._own[-1][1] + 1 == first:
                first = self._own.pop()[0]
            self._own.append((first, last))
            self._uncommitted += len(fresh)

    def extend(self, rows: Sequence[tuple[int, str]]) -> None:
        """Add the next items to an index that is built anew, with their words; none before the last of them is left."""
        with self._lets_go():
            for key, words in rows:
                self._writer.add(key, words)
        self.newest = rows[-1][0]

    def abandon(self) -> None:
        """Let go of the index; a new one that was not committed goes."""
        self._writer.abandon()
        if self._is_new:
            self._words.delete(self._name)

    def publish(self, most: int) -> None:
        """Commit where so many items have been added since: the first of a new index at once, for who searches it."""
        if self._uncommitted >= (1 if self._is_new else most):
            self.commit()

    def commit(self, analyzer: int | None = None, most: int | None = None) -> None:
        """Add what others have written, remove what is gone, and say in the database how far the index has come.

        And, where that is given, by which version all words of the context are made from now on. Of what others have
        written after all that was added here, about `most` items are added at most.
        """
        with self._lets_go():
            newest = self._add_missing(most)
            with translated(self._database):
                gone = removals_after(self._connection, self._context, self._removed)
            if gone is None:
                raise IndexDamagedError("the log of removals begins after those that it has taken")
            self._writer.remove(gone)
            self._writer.commit()
            self.index.reload()
            self._say(newest, self._removed + len(gone), analyzer)
        self._removed += len(gone)
        self.newest, self._own, self._is_new, self._uncommitted = newest, [], False, 0

    def finish(self, analyzer: int | None = None, most: int | None = None) -> None:
        """Do that a last time, and let go of the index."""
        self.commit(analyzer, most)
        with self._lets_go():
            self._writer.close()
        for other in self._words.names_of(self._context.id):
            if other != self._name:
                self._words.delete(other)

    def _say(self, newest: int, removed: int, analyzer: int | None) -> None:
        copies = copies_of(self._connection)
        is_only = copies is self._connection
        # What a server says of its own index keeps nobody from writing.
        begin = transaction if is_only or analyzer is not None else snapshot
        with begin(self._connection, self._database):
            if analyzer is not None:
                self._connection.execute("UPDATE contexts SET analyzer = ? WHERE id = ?", (analyzer, self._context.id))
            if is_only:
                forget_removals(self._connection, self._context, removed - LAST)
            name_index(copies, self._context, self._generation, newest, removed)
            if not is_only:
                keep_copied_words(copies, self._context, IndexState(self._connection, self._context).analyzer)
            state = IndexState(self._connection, self._context)
            if state.is_current and len(self.index) != state.items:  # otherwise somebody has written meanwhile
                raise IndexDamagedError(f"it holds {counted(len(self.index), 'item')} of {state.items:,}")

    def _add_missing(self, most: int | None) -> int:
        """Add the items after the newest in the index that were not added here; returns the newest that is in it."""
        newest = self.newest
        for first, last in self._own:
            self._add_between(newest, first)
            newest = last
        return self._add_between(newest, None, most)

    def _add_between(self, after: int, before: int | None, most: int | None = None) -> int:
        """Add the items whose keys lie between two; returns the largest of them, else the lower bound."""
        added, page = 0, _PAGE if most is None else _SMALL_PAGE
        while most is None or added < most:
            if before is not None and after + 1 >= before:
                return after
            with translated(self._database):
                keys = page_of_keys(self._connection, self._context, after=after, limit=page)
                keys = [key for key in keys if before is None or key < before]
                found = read_items(self._connection, keys) if keys else {}
            if not keys:
                return after
            after, added = keys[-1], added + len(keys)
            for number, (key, item) in enumerate(found.items()):
                self._writer.add(key, index_terms(item, stored_language(item, self._context), self._context.encoding))
                if most is not None and number % _YIELDS == 0:
                    sleep(_YIELD_S)
        return after


def indexes_behind(connection: SqlConnection, numbers: Collection[int] | None) -> list[str]:
    """Return the names of contexts whose index on this server lacks something: of some by their numbers, or of all.

    An index of words of another version is none of them: it is built anew by who searches it.
    """
    copies = copies_of(connection)
    there = {
        number: (newest, removed)
        for number, generation, newest, removed in copies.execute(
            "SELECT context_id, generation, newest, removed FROM indexes"
        )
        if generation.startswith(f"{FORMAT}-") and (numbers is None or number in numbers)
    }
    if not there:
        return []
    found = connection.execute(
        "SELECT id, name, analyzer, newest, removed FROM contexts"
        " WHERE id IN (SELECT value FROM json_each(?) AS numbers)",
        (json.dumps([*there]),),
    )
    return [
        name
        for number, name, analyzer, *last in found
        if any(map(int.__gt__, last, there[number])) and _copied_words(copies, number) == analyzer
    ]


def _copied_words(copies: SqlConnection, number: int) -> int | None:
    """Return by which version the words are made that the index of this server has."""
    found = copies.execute("SELECT value FROM settings WHERE name = ?", (_words_setting(number),)).fetchone()
    return None if found is None else int(found[0])


def name_index(copies: SqlConnection, context: Context, generation: str, newest: int, removed: int) -> None:
    """Say which index of a context is searched here, and up to which key and removal it has come."""
    copies.execute(
        "INSERT INTO indexes (context_id, generation, newest, removed) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (context_id) DO UPDATE SET generation = excluded.generation,"
        " newest = excluded.newest, removed = excluded.removed",
        (context.id, generation, newest, removed),
    )


def keep_copied_words(copies: SqlConnection, context: Context, analyzer: int) -> None:
    """Say by which version the words in it are made; after `name_index`, so that a crash between leaves it unused."""
    copies.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_words_setting(context.id), str(analyzer)),
    )


def _words_setting(number: int) -> str:
    return f"words of context {number}"
