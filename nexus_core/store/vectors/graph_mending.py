"""Mends graphs of vectors by itself: where a search has found one damaged or lost, it is made anew in the background.

Until it is there all vectors are compared one by one, which finds the same and takes longer.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING

from nexus_core.store.records import Context
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.store.vectors import embedding, graph
else:  # for contexts with vectors
    embedding, graph = (LazyModule(f"nexus_core.store.vectors.{name}") for name in ("embedding", "graph"))

AFTER_S = 1.0
"""So long after the search: a process that searches once leaves it to others."""
AGAIN_S = 60.0
"""So long after one attempt the same context is tried again."""

_log = logging.getLogger(__name__)


class GraphMending:
    """Makes graphs anew, one at a time in this process, and in turn with others that are at the same vectors."""

    def __init__(self, threads: WorkerThreads) -> None:
        self._threads = threads
        self._work: asyncio.Task[None] | None = None
        self._not_before: dict[int, float] = {}
        """By context, when it may be tried again."""

    def look(self, name: str) -> None:
        """Begin with the graph of a context that was searched, where it is due and nothing else is under way."""
        context = self._threads.opened().unarranged.get(name)
        if context is None or not self._threads.may_write or not graph.has_graphs():
            return
        is_busy = self._work is not None and not self._work.done()
        if not is_busy and monotonic() >= self._not_before.get(context.id, 0.0):
            self._work = asyncio.create_task(self._mend(context))

    async def settle(self) -> None:
        """Return when nothing is under way."""
        if self._work is not None:
            await asyncio.wait([self._work])

    async def close(self) -> None:
        """Have done with it: what is begun is given up, and nothing of it is left."""
        if self._work is not None:
            self._work.cancel()
            await self.settle()

    async def _mend(self, context: Context) -> None:
        await asyncio.sleep(AFTER_S)
        _log.info("the vectors of %r are arranged anew in the background", context.name)
        try:
            await embedding.arrange_vectors(self._threads, context)
        except Exception as error:  # noqa: BLE001 - whatever it is, searches go on without the graph
            _log.warning("the vectors of %r cannot be arranged anew: %s", context.name, error)
        finally:
            self._not_before[context.id] = monotonic() + AGAIN_S
