"""The embedders of a store's contexts: loaded when first needed, open until the store closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Literal

from nexus_core.contract.errors import ConnectorError, PluginError, StoreError, UsageError
from nexus_core.store.records import Context
from nexus_core.store.vectors.meaning import QueryVector
from nexus_core.store.vectors.vector_model import VectorModel
from nexus_core.toolkit.embedding.embedder import TextEmbedder
from nexus_core.toolkit.embedding.registry import embedder_named
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.store.vectors import embedding
else:
    embedding = LazyModule("nexus_core.store.vectors.embedding")  # for contexts with vectors

SearchBy = Literal["words", "meaning", "both"]
LONGEST_QUERY = 20_000
"""Characters of a query that are embedded."""

_log = logging.getLogger(__name__)


class StoreEmbedders:
    """Embedders by the names that contexts know them by."""

    def __init__(self) -> None:
        self._open = AsyncExitStack()
        self._known: dict[str, TextEmbedder] = {}
        self._models: dict[str, VectorModel] = {}
        self._loading = asyncio.Lock()
        self._logged: set[tuple[int, str]] = set()
        """Contexts, each with its model, of which the log says already that they are searched by words alone."""

    async def named(self, name: str) -> TextEmbedder:
        """Return an embedder, open; raises StoreError where it cannot be used."""
        async with self._loading:
            if name not in self._known:
                try:
                    embedder = await asyncio.to_thread(embedder_named, name)
                    if isinstance(embedder, AbstractAsyncContextManager):
                        await self._open.enter_async_context(embedder)
                except PluginError as error:
                    raise StoreError(str(error)) from error
                self._known[name] = embedder
            return self._known[name]

    async def query_vector(
        self, context: Context, query: str, by: SearchBy | None, note: Callable[[str], None] | None
    ) -> QueryVector | None:
        """Return a query as the model of a context understands it; `None` where it is searched by words.

        Raises UsageError or StoreError where it is to be searched by meaning alone, and cannot be.
        """
        if not context.embedder:
            if by is None:
                return None
            problem = f"{context.name!r} has no vectors: make them with `nexus context embed {context.name} --model M`"
            if by == "meaning":
                raise UsageError(f"it cannot be searched by meaning: {problem}")
            self._go_without(problem, by, note, context)
            return None
        if not query.strip():
            return None
        try:
            embedder = await self.named(context.embedder)
            if context.embedder not in self._models:
                self._models[context.embedder] = await embedding.vector_model(embedder)
            vectors = await embedder.embed([str(query)[:LONGEST_QUERY]])
        except StoreError as error:
            self._go_without(str(error), by, note, context)
            return None
        except (ConnectorError, PluginError) as error:  # which may be another one, or none, with the next search
            self._go_without(str(error), by, note)
            return None
        return QueryVector(self._models[context.embedder], vectors[0])

    async def close(self) -> None:
        """Have done with them."""
        self._known, self._models = {}, {}
        await self._open.aclose()

    def _go_without(
        self, problem: str, by: SearchBy | None, note: Callable[[str], None] | None, lasting: Context | None = None
    ) -> None:
        """Tell that a search goes by words alone; raises StoreError where that is not what was asked.

        What lasts until somebody changes a context is logged once, and noted for each search.
        """
        if by == "meaning":
            raise StoreError(f"it cannot be searched by meaning: {problem}")
        told = f"searched by words alone: {problem}"
        place = None if lasting is None else (lasting.id, lasting.embedder)
        if place not in self._logged:
            _log.warning("%s", told)
        if place is not None:
            self._logged.add(place)
        if note is not None:
            note(told)
