"""Upkeep of a server's own indexes: what another server has written is in them before somebody searches for it.

Postgres notifies of changes (LISTEN / NOTIFY). Where notifications do not arrive, as through a pooler of transactions,
or while the connection that listens is lost, the numbers of the last changes are polled with each look of the link.
Freshness does not depend on any of it: each search compares its index with the rows.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from secrets import token_hex
from time import monotonic

from nexus_core.contract.errors import NexusError, StoreUnavailableError, UsageError
from nexus_core.server.cluster.store_link import StoreLink
from nexus_core.store import contexts
from nexus_core.store.database.connection import translated
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import ChangeListener, ServerConnection
from nexus_core.store.search.index_updates import IndexUpdater, indexes_behind
from nexus_core.store.store import Store

PIECE = 1_000
"""Items that are added to an index at a time: so long, some tenths of a second, who writes waits at most."""
ARRIVES_S = 2.0
"""Within this time a notification from another connection arrives, or none does."""
_PROVED_S = 60.0
"""Between two proofs that notifications arrive still: a connection may be dead without a word."""
PUBLISHED_S = 30.0
"""Between two looks for indexes that have grown so much that their snapshot is to be published."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
"""Between two attempts to listen; each is twice the one before."""
_REST_S = 60.0
"""After an index could not be written, as where the disk is full."""

_log = logging.getLogger(__name__)

_POLLS = (
    "notifications of the database do not arrive (%s): changes of other servers are polled each second. A pooler of "
    "transactions passes none on; the indexes are as fresh with each search"
)


class IndexUpkeep:
    """Keeps up the indexes that this server has of contexts; one process of a machine does it."""

    def __init__(self, link: StoreLink, place: StorePaths, store: Store) -> None:
        """Take the link, whose looks it polls with, and the store, whose indexes it writes."""
        self._link = link
        self._place = place
        self._store = store
        self.is_listening = False
        """Whether notifications of changes arrive; else they are polled."""
        self._listener: ChangeListener | None = None
        self._nonce = ""
        self._proof: asyncio.Future[None] | None = None
        self._proved_at = 0.0
        self._again_at, self._pause = 0.0, _FIRST_PAUSE_S
        self._said = False
        """Whether the log says that changes are polled."""
        self._numbers: set[int] = set()
        """Contexts that have changed."""
        self._all = False
        """Any of them may have."""
        self._listening: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._publish_at = 0.0

    async def look(self) -> None:
        """Poll where nobody notifies, and see to it that somebody does; waits for neither."""
        if self._listening is None or self._listening.done():
            is_due = self._proved_at + _PROVED_S if self.is_listening else self._again_at
            if monotonic() >= is_due:
                self._listening = asyncio.create_task(self._listen())
        if not self.is_listening:
            self._all = True
        if self._all or self._numbers:
            self._begin()
        if monotonic() >= self._publish_at and (self._publishing is None or self._publishing.done()):
            self._publish_at = monotonic() + PUBLISHED_S
            self._publishing = asyncio.create_task(self._publish())

    async def close(self) -> None:
        """Have done with it; a piece that has begun is finished."""
        tasks = [each for each in (self._listening, self._working, self._publishing) if each is not None]
        for each in tasks:
            each.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._stop_listening()

    # Notifications

    async def _listen(self) -> None:
        """Listen, or prove that what listens still does."""
        try:
            if self._listener is None:
                self._listener = await self._opened()
            await self._prove(self._listener)
        except (NexusError, OSError, NotImplementedError, TimeoutError) as error:
            self._stop_listening()
            self._again_at = monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)
            if not self._said and not self._link.is_lost:  # which it has said
                self._said = True
                why = f"none within {ARRIVES_S:g} s" if isinstance(error, TimeoutError) else error
                _log.warning(_POLLS, why)
            return
        self._proved_at, self._pause = monotonic(), _FIRST_PAUSE_S
        if not self.is_listening:
            self.is_listening, self._all = True, True  # nobody has told of what came before
            self._begin()
            if self._said:
                self._said = False
                _log.warning("notifications of the database arrive: changes of other servers are polled no more")

    async def _opened(self) -> ChangeListener:
        opening = asyncio.ensure_future(asyncio.to_thread(self._place.listen))
        try:
            listener = await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait([opening])
            if not opening.exception() and (late := opening.result()) is not None:
                late.close()
            raise
        if listener is None:
            raise UsageError("this kind of store has none")
        try:
            asyncio.get_running_loop().add_reader(listener.fileno(), partial(self._take, listener))
        except BaseException:  # a loop that watches no descriptors
            listener.close()
            raise
        return listener

    async def _prove(self, listener: ChangeListener) -> None:
        """Raise TimeoutError where no notification arrives that another connection sends."""
        self._nonce, self._proof = token_hex(8), asyncio.get_running_loop().create_future()
        try:
            await self._link.run(partial(_announce, listener), self._nonce)
            async with asyncio.timeout(ARRIVES_S):
                await self._proof
        finally:
            self._proof = None

    def _take(self, listener: ChangeListener) -> None:
        """Take what has arrived, in the loop."""
        try:
            arrived = listener.take()
        except NexusError:
            self._stop_listening()  # the next look listens anew, and polls meanwhile
            return
        if self._nonce in arrived and self._proof is not None and not self._proof.done():
            self._proof.set_result(None)
        numbers = {int(text) for text in arrived if text.isdecimal() and len(text) < len(self._nonce)}
        if numbers:
            self._numbers |= numbers
            self._begin()

    def _stop_listening(self) -> None:
        self.is_listening = False
        if self._listener is not None:
            with suppress(OSError, ValueError, NotImplementedError):
                asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    # Indexes

    def _begin(self) -> None:
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Bring up what has changed, in pieces: others come in between."""
        while self._all or self._numbers:
            numbers = None if self._all else frozenset(self._numbers)
            self._all = False
            self._numbers.clear()
            try:
                for name in await self._link.run(_behind, self._place, numbers):
                    while await self._store.write_indexed(_advance, name):
                        continue
            except StoreUnavailableError:  # which was noted; a later look goes on
                self._all = True
                return
            except UsageError:  # a context that was deleted meanwhile
                continue
            except NexusError as error:
                _log.warning("indexes are brought up by searches alone for %g s: %s", _REST_S, error)
                self._all = True
                await asyncio.sleep(_REST_S)

    async def _publish(self) -> None:
        try:
            await self._store.snapshots.publish_due()
        except NexusError as error:
            if not isinstance(error, StoreUnavailableError):
                _log.warning("snapshots of indexes are not looked after: %s", error)


def _announce(listener: ChangeListener, connection: ServerConnection, nonce: str) -> None:
    listener.announce(connection, nonce)


def _behind(connection: ServerConnection, place: StorePaths, numbers: frozenset[int] | None) -> list[str]:
    with translated(place.database):
        return indexes_behind(connection, numbers)


def _advance(indexing: IndexUpdater, name: str) -> bool:
    with translated(indexing.folder.database):
        context = contexts.find(indexing.connection, name)
    return indexing.advance(context, PIECE)
