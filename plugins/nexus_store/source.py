"""The source `store`: searches a context at rest and yields what it finds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from nexus_core import Ranking, component, hookimpl, option, state

if TYPE_CHECKING:
    from nexus_core import Store


@component
class StoreSource:
    """Searches a context at rest: its index proposes items for the query, rankers refine their order."""

    name = "store"

    context: str = option(help="The name of the context; `nexus context list` shows those there are.")
    path: str = option("", help="The store's folder; by default the one that NEXUS_STORE names, else the user's own.")
    candidates: int = option(200, help="How many items the search yields at most.", ge=1, le=10_000)
    tags: tuple[str, ...] = option((), help="Only items that have all of these tags.")
    _store: Store | None = state()
    _last: Ranking | None = state()

    async def __aenter__(self) -> Self:
        """Open the store."""
        from nexus_core import Store

        self._store = await Store(self.path or None).__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Keep what rankers have worked out, and close the store."""
        if self._store is not None:
            try:
                await self._keep()
            finally:
                await self._store.__aexit__(None, None, None)
                self._store = None

    async def gather(self, query: str) -> Ranking:
        """Return what the search finds, scored over the whole context."""
        assert self._store is not None
        await self._keep()
        self._last = await self._store.search(self.context, query, limit=self.candidates, tags=self.tags)
        return self._last

    async def _keep(self) -> None:
        if self._store is not None and self._last is not None:
            found, self._last = self._last, None
            await self._store.keep_figures(found)


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source."""
    return [StoreSource]


@hookimpl
def nexus_sinks() -> Iterable[type]:
    """Yield the sink."""
    from nexus_store.usage import StoreSink  # those who only search need none

    return [StoreSink]
