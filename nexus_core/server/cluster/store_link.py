"""Link of a server to the database of its store: a connection and a thread of its own, and a look each second.

It says whether the database can be reached, and whether its tables are of a version that this server can use; both come
back by themselves. Nothing here depends on a session of the database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Concatenate, ParamSpec, TypeVar, cast

from nexus_core.contract.errors import NexusError, StoreUnavailableError
from nexus_core.store.access.server_agreements import drop_old
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import ServerConnection

_P = ParamSpec("_P")
_T = TypeVar("_T")

LOOK_S = 1.0
"""Between two looks: so late what another server has changed is seen at most, as long as the database answers."""
SLOW_S = 3.0
"""A database that has not answered for so long is taken for lost."""
_CHECK_S = 5.0
"""Between two looks at the version of the tables, as long as they can be used."""
_DROP_S = 60.0

Look = Callable[[], Coroutine[object, object, None]]

_log = logging.getLogger(__name__)


class StoreLink:
    """Open between `open` and `close`."""

    def __init__(self, place: StorePaths) -> None:
        self._place = place
        self._thread = ThreadPoolExecutor(1, "nexus-store-link")
        self._connection: ServerConnection | None = None
        self._looks: list[Look] = []
        self._task: asyncio.Task[None] | None = None
        self._failed = False
        self._unusable = ""
        self._asked_at: dict[object, float] = {}
        """Since when the database has been asked something."""
        self._dropped_at = monotonic()
        self._checked_at = -inf
        self._is_over = False

    @property
    def is_lost(self) -> bool:
        """Whether the database cannot be reached, or does not answer."""
        return self._failed or monotonic() - min(self._asked_at.values(), default=monotonic()) > SLOW_S

    @property
    def unusable(self) -> str:
        """Why the tables cannot be used by this version; empty where they can."""
        return self._unusable

    def each_look(self, look: Look) -> None:
        """Say what is to be done at each look; what it raises of the store's errors is the link's matter."""
        self._looks.append(look)

    async def open(self) -> None:
        """Look for the first time, and then each second."""
        await self.look()
        self._task = asyncio.create_task(self._look_on())

    async def close(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._is_over = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def run(
        self, work: Callable[Concatenate[ServerConnection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Return what a function makes of the connection, in the thread of the link."""
        if self._is_over:
            raise StoreUnavailableError("the server is about to stop")
        token = object()
        self._asked_at[token] = monotonic()

        def in_thread() -> _T:
            return work(self._opened(), *args, **kwargs)

        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, in_thread)
        except StoreUnavailableError as error:
            self._note_lost(str(error))
            raise
        finally:
            del self._asked_at[token]
        if self._failed:
            self._failed = False
            _log.warning("the database of the store is there again")
        return found

    async def look(self) -> None:
        """Look whether the database is there and can be used, and do what is to be done with it."""
        self._checked_at = -inf
        await self._look()

    async def _look(self) -> None:
        try:
            if self._unusable or monotonic() - self._checked_at >= _CHECK_S:
                self._unusable = await self.run(_problem)
                self._checked_at = monotonic()
            if not self._unusable:
                for look in self._looks:
                    await look()
            if monotonic() - self._dropped_at >= _DROP_S:
                self._dropped_at = monotonic()
                await self.run(_drop)
        except NexusError as error:
            if not isinstance(error, StoreUnavailableError):  # which was noted, and is looked at again
                _log.warning("what the servers of the store agree on cannot be read or written: %s", error)

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look()

    def _note_lost(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            _log.warning("the database of the store is lost, what does not need it goes on: %s", why)

    def _opened(self) -> ServerConnection:
        if self._connection is None:
            self._connection = cast(ServerConnection, self._place.connect(writes=False))
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _problem(connection: ServerConnection) -> str:
    """Return why the tables cannot be used; raises StoreUnavailableError where nothing can be asked."""
    try:
        connection.check_version()
    except StoreUnavailableError:
        raise
    except NexusError as error:
        return str(error)
    return ""


def _drop(connection: ServerConnection) -> None:
    drop_old(connection, connection.clock())
