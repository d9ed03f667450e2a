"""Renewal: the words of a context that another version has made are made anew, page by page, beside the old index.

Whoever writes to such a context first does it, under the lock of its index. Until it is done everybody searches the old
index; one statement switches to the new one. After a crash it begins again, and what it had written does no harm:
figures say by which version they were made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

from nexus_core.contract.errors import StoreError
from nexus_core.store.database.connection import transaction
from nexus_core.store.items.passage_codec import packed
from nexus_core.store.items.prepare import analyse
from nexus_core.store.items.rows import keep_figures, keep_languages, page_of_keys, read_items, stored_language
from nexus_core.store.items.vectors import move_older
from nexus_core.store.records import Context
from nexus_core.store.search.index_updates import IndexState, IndexUpdate, IndexUpdater
from nexus_core.store.search.indexes import IndexDamagedError
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.text.stemming import ANALYZER_VERSION

Seen = Callable[[int, int, str], None]
"""Told of progress: how many are done, of how many, and what was done last."""

_PAGE = 500
"""Items that are looked at in one transaction: some tenths of a second, for which others wait."""

_log = logging.getLogger(__name__)


async def renew(threads: WorkerThreads, context: Context, seen: Seen | None = None, *, wait_s: float = 0.0) -> None:
    """Renew a context, as far as that is to be done and no other process is at it."""
    if context.analyzer == ANALYZER_VERSION:
        return
    _log.info("the words of %r, %d items, are made anew: another version has made them", context.name, context.items)
    renewal = await threads.write_indexed(Renewal, context, wait_s=wait_s)
    try:
        while await threads.writing(renewal.step):
            if seen is not None:
                seen(renewal.done, renewal.total, f"the words of {context.name} are made anew")
    finally:
        await threads.writing(renewal.close)


class Renewal:
    """The renewal of one context, for the thread that writes; nothing is to be done where this version made it all."""

    def __init__(self, indexing: IndexUpdater, context: Context, *, wait_s: float = 0.0) -> None:
        """Begin; where another process is at the index for longer than `wait_s`, it is left to that one."""
        self.done, self.total = 0, context.items
        self._indexing = indexing
        self._context = context
        self._turn = ExitStack()
        self._update: IndexUpdate | None = None
        if context.analyzer == ANALYZER_VERSION:
            return
        if self._turn.enter_context(indexing.turn(context, wait_s)) and not self._is_done():
            self._update = IndexUpdate(indexing, context, anew=True)
        else:
            self._turn.close()

    def _is_done(self) -> bool:
        """Tell whether another process has been faster."""
        return IndexState(self._indexing.connection, self._context).analyzer == ANALYZER_VERSION

    def step(self) -> bool:
        """Renew some items, and tell whether there may be more."""
        if self._update is None:
            return False
        try:
            if self._renew_page(self._update):
                return True
            self._update.finish(analyzer=ANALYZER_VERSION)
        except IndexDamagedError as error:
            self.close()
            raise StoreError(
                f"the index of {self._context.name!r} does not come out right ({error}): run `nexus context check`"
            ) from error
        except BaseException:
            self.close()
            raise
        self._update = None
        self._turn.close()
        return False

    def _renew_page(self, update: IndexUpdate) -> bool:
        context = self._context
        with transaction(self._indexing.connection, self._indexing.folder.database) as connection:
            keys = page_of_keys(connection, context, after=update.newest, limit=_PAGE)
            found = read_items(connection, keys) if keys else {}
            languages = {key: stored_language(found[key], context) for key in keys}
            made = [(key, *analyse(found[key], languages[key], context.encoding)) for key in keys]
            keep_figures(connection, context, [(key, packed(figures)) for key, figures, _ in made])
            connection.executemany(
                "UPDATE items SET language = ? WHERE key = ?", ((language, key) for key, language in languages.items())
            )
            keep_languages(connection, context, set(languages.values()))
            move_older(connection, keys)
        if keys:
            update.extend([(key, words) for key, _, words in made])
        self.done += len(keys)
        return bool(keys)

    def close(self) -> None:
        """Leave it, as it is, to whoever writes next."""
        if self._update is not None:
            self._update.abandon()
            self._update = None
        self._turn.close()
