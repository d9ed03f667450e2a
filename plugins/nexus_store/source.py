"""The source `store`: searches a context at rest and yields what it finds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, Self

import nexus_core  # its names are imported when they are first used
from nexus_core import Ranking, RunContext, SourceError, StoreError, UsageError, component, injected, option, state
from nexus_core.toolkit import EVERYTHING, Filter, SharedResources, parse_filter

if TYPE_CHECKING:
    from nexus_core import Store

TOGETHER_S = 1.0
"""So long after the first new vector of an item those that have come are written, all at once."""

_log = logging.getLogger(__name__)


@component
class StoreSource:
    """Searches a context at rest: its index proposes items for the query, rankers refine their order."""

    name = "store"

    context: str = option("", help="The name of the context; by default the one that the caller of a run names.")
    path: str = option(
        "", help="The store, a folder or a URL; by default the one that NEXUS_STORE names, else the user's own."
    )
    candidates: int = option(150, help="How many items the search yields at most.", ge=1, le=10_000)
    tags: tuple[str, ...] = option((), help="Only items that have all of these tags.")
    where: Mapping[str, Any] = option(
        factory=dict, help="Only items whose fields are so: `{year: {gte: 2020}, author: [Ann, Bob]}`."
    )
    by: Literal["", "words", "meaning", "both"] = option(
        "", help="`words`, `meaning` or `both`; by default `both` where the context has vectors."
    )
    shared: SharedResources | None = injected()
    _store: Store | None = state()
    _open: AsyncExitStack = state(AsyncExitStack)
    _keeping: asyncio.Task[None] | None = state()
    _filter: Filter = state(lambda: EVERYTHING)

    def __attrs_post_init__(self) -> None:
        self._filter = parse_filter(self.where)

    def check_built(self) -> None:
        """Raise ValueError where `path` is a URL that no store is installed for."""
        if "://" in self.path:
            try:
                nexus_core.Store(self.path)
            except UsageError as error:
                raise ValueError(str(error)) from error

    async def __aenter__(self) -> Self:
        """Open the store; raises SourceError where there is none."""
        folder = nexus_core.Store(self.path or None).folder
        if not await asyncio.to_thread(folder.exists):
            raise SourceError(
                f"store: there is no store at {folder.name}: make one with "
                f"`nexus context add {self.context or 'NAME'} PATH`, or say where it is with `path` or NEXUS_STORE"
            )
        try:
            self._store = await self._open.enter_async_context(
                nexus_core.open_store(self.shared or SharedResources(), self.path)
            )
        except StoreError as error:
            raise SourceError(f"store: {error}") from error
        self._keeping = asyncio.create_task(self._keep_what_comes(self._store))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Keep what rankers have worked out, and have done with the store."""
        store, self._store = self._store, None
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait([keeping])
        if store is not None:
            try:
                await self._keep(store)
            finally:
                await self._open.aclose()

    @property
    def takes_context(self) -> bool:
        """Whether the caller of a run chooses the context."""
        return not self.context

    async def gather(self, query: str, run: RunContext) -> Ranking:
        """Return what the search finds, scored over the whole context."""
        if self._store is None:
            raise SourceError("store: it is not open: use `async with`")
        context = self.context or run.context_id
        if not context:
            raise SourceError(
                "store: no context is named: give `context` in the pipeline, or `context_id` with the run"
            )
        run.looked_in(context)
        try:
            found = await self._store.search(
                context, query, limit=self.candidates, tags=self.tags, where=self._filter, viewer=run.viewer,
                by=self.by or None, note=run.note,
            )  # fmt: skip
        except (StoreError, UsageError) as error:
            raise SourceError(f"store: {error}") from error
        return found

    async def _keep_what_comes(self, store: Store) -> None:
        """Keep vectors as rankers work them out: the store is told of each, so that nobody looks for them."""
        while True:
            await store.fresh_vectors()
            await asyncio.sleep(TOGETHER_S)
            await self._keep(store)

    async def _keep(self, store: Store) -> None:
        """Keep the vectors that rankers have worked out of what was found; no run waits for it or fails by it."""
        try:
            await store.keep_vectors()
        except StoreError as error:
            _log.warning("store: vectors are not kept, and will be worked out again: %s", error)
