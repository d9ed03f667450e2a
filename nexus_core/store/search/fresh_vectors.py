"""Fresh vectors: what rankers have put with items of a store and no database has yet."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from threading import Lock
from typing import Any

from nexus_core.contract.features import FeatureKey, vector_key
from nexus_core.contract.values import Item

MOST_BYTES = 64 * 2**20
"""Of vectors that wait; the oldest are let go beyond that, and will be worked out again."""
_VECTOR = vector_key("").name


class FreshVectors:
    """Takes notice of vectors as they are put; may be told from any thread."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, bytes]] = deque()
        self._bytes = 0
        self._lock = Lock()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def watch(self, row: int, item: Item) -> None:
        """Notice what is put with an item from now on; `row` is its key in the database."""
        item.features.listen(partial(self._put, row))

    def _put(self, row: int, key: FeatureKey[Any], value: Any) -> None:
        if key.name != _VECTOR or not isinstance(value, bytes):
            return
        with self._lock:
            self._waiting.append((row, str(key.parameter), value))
            self._bytes += len(value)
            while self._bytes > MOST_BYTES:
                self._bytes -= len(self._waiting.popleft()[2])
            waiters, self._waiters = self._waiters, []
        for loop, waiter in waiters:
            loop.call_soon_threadsafe(_wake, waiter)

    def take(self) -> list[tuple[int, str, bytes]]:
        """Return (key, model, vectors) of all that wait, each once."""
        with self._lock:
            found, self._bytes = [*self._waiting], 0
            self._waiting.clear()
        return found

    async def arrival(self) -> None:
        """Return as soon as there are any."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._waiting:
                return
            self._waiters.append((loop, waiter))
        try:
            await waiter
        finally:
            with self._lock:
                self._waiters = [each for each in self._waiters if each[1] is not waiter]


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
