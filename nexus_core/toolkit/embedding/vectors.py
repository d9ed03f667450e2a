"""Vectors of connectors: asked for, checked, and brought to the length of one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Self

import numpy as np
import numpy.typing as npt
from attrs import frozen

from nexus_core.contract.errors import PluginError
from nexus_core.contract.protocols import Embedder
from nexus_core.toolkit.suggest import counted

Vectors = npt.NDArray[np.float32]


@frozen(eq=False)
class ConnectorEmbedder:
    """Asks a connector; its ConnectorErrors pass as they are."""

    connector: Embedder
    at_once: int = 4
    dimensions: int | None = None

    @property
    def embedding_id(self) -> str:
        """As the connector says it."""
        return self.connector.embedding_id

    @property
    def batch(self) -> int:
        """As the connector says it."""
        return max(1, self.connector.embedding_batch)

    async def __aenter__(self) -> Self:
        if isinstance(self.connector, AbstractAsyncContextManager):
            await self.connector.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        if isinstance(self.connector, AbstractAsyncContextManager):
            await self.connector.__aexit__(None, None, None)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of one request; raises PluginError where the answer holds none."""
        answer = await self.connector.embed(texts)
        try:
            vectors = np.array(answer, np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise _wrong(f"what is no vector: {type(error).__name__}") from error
        if vectors.ndim != 2 or len(vectors) != len(texts) or not vectors.shape[1] or not np.isfinite(vectors).all():
            raise _wrong(
                f"an array of {vectors.shape} for {counted(len(texts), 'text')}, or numbers that are not finite"
            )
        return unit_vectors(vectors)


def unit_vectors(vectors: Vectors) -> Vectors:
    """Return vectors at the length of one, those of nothing as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def _wrong(what: str) -> PluginError:
    return PluginError(f"the connector returned {what}: tell the author of its plugin")
