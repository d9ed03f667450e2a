"""One open store for all in a process who use one folder: the sources of pipelines, and the server around them.

So a folder has one index in memory and one thread that reads, however many pipelines search it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from nexus_core.store.store import Store
from nexus_core.toolkit.shared_resources import SharedResources


class _Held:
    """A store with its users: opened for the first of them, unless somebody lends it who has opened it."""

    def __init__(self, store: Store, *, is_lent: bool) -> None:
        self._store = store
        self._is_lent = is_lent
        self._is_open = is_lent
        self._opening = asyncio.Lock()

    async def opened(self) -> Store:
        """Return the store, open."""
        async with self._opening:
            if not self._is_open:
                await self._store.__aenter__()
                self._is_open = True
        return self._store

    async def close(self) -> None:
        """Close it, unless it is somebody else's."""
        if self._is_open and not self._is_lent:
            await self._store.__aexit__(None, None, None)


@asynccontextmanager
async def open_store(shared: SharedResources, path: str = "") -> AsyncIterator[Store]:
    """Give the store of a folder, open, as all have it that come with the same `shared`; raises StoreError."""
    store = Store(path or None)
    key = _key(store)
    held = shared.take(key, lambda: _Held(store, is_lent=False))
    try:
        yield await held.opened()
    finally:
        await shared.release(key)


@asynccontextmanager
async def lent(store: Store, shared: SharedResources) -> AsyncIterator[None]:
    """Let all who come with this `shared` use an open store, where they name its folder."""
    key = _key(store)
    shared.take(key, lambda: _Held(store, is_lent=True))
    try:
        yield
    finally:
        await shared.release(key)


def _key(store: Store) -> Hashable:
    return "store", str(store.folder.root.absolute()), asyncio.get_running_loop()
