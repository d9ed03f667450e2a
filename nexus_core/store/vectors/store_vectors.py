"""The vectors of an open store's contexts: made by a model, kept up after each addition, and forgotten again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nexus_core.contract.errors import ConnectorError, PluginError, StoreError
from nexus_core.store import contexts
from nexus_core.store.records import Context
from nexus_core.store.vectors.embedders import StoreEmbedders
from nexus_core.store.vectors.vector_model import VectorState, vector_state
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.store.vectors import embedding, graph_upkeep, vector_check
    from nexus_core.store.vectors.graph_upkeep import Seen
else:  # for contexts with vectors
    embedding, graph_upkeep, vector_check = (
        LazyModule(f"nexus_core.store.vectors.{name}") for name in ("embedding", "graph_upkeep", "vector_check")
    )

_log = logging.getLogger(__name__)


class StoreVectors:
    """Gives vectors to the items of one store's contexts."""

    def __init__(self, threads: WorkerThreads, embedders: StoreEmbedders) -> None:
        self._threads = threads
        self._embedders = embedders

    async def embed(self, name: str, model: str, seen: Seen | None) -> int:
        """Let a context be searched by meaning; see `Store.embed`."""
        context = await self._threads.read(contexts.find, name)
        embedder = await self._embedders.named(model)
        return await embedding.embed_context(self._threads, context, model, embedder, seen)

    async def forget(self, name: str) -> None:
        """Let a context be searched by words alone, and delete its vectors."""
        context = await self._threads.read(contexts.find, name)
        await self._threads.write(embedding.forget_vectors, context)
        await self._threads.read(graph_upkeep.delete_unnamed, self._threads.folder, context)

    async def note(self, name: str) -> str:
        """Return why searches by meaning in a context are slower than they might be; mostly nothing."""
        context = await self._threads.read(contexts.find, name)
        return await self._threads.read(vector_check.graph_note, context)

    async def state(self, name: str) -> VectorState | None:
        """Return how many items of a context have vectors; see `Store.vector_state`."""
        context = await self._threads.read(contexts.find, name)
        return await self._threads.read(vector_state, context)

    async def embed_new(self, name: str) -> None:
        """Give vectors to what was added; where that cannot be done it is found by words until it is."""
        context = await self._threads.read(contexts.find, name)
        if context.embedder:
            await self._embed_rest(context)

    async def mend(self, context: Context) -> None:
        """Give vectors to all items that lack them, where the model is here, and arrange those there are."""
        if context.embedder:
            await self._embed_rest(context, looks_at_all=True)
        await embedding.arrange_vectors(self._threads, context)

    async def _embed_rest(self, context: Context, *, looks_at_all: bool = False) -> None:
        try:
            embedder = await self._embedders.named(context.embedder)
            await embedding.embed_context(self._threads, context, context.embedder, embedder, looks_at_all=looks_at_all)
        except (StoreError, ConnectorError, PluginError) as error:
            _log.warning("items of %r have no vectors yet, and are found by words alone: %s", context.name, error)
