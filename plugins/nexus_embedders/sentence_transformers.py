"""Vectors of sentence-transformers models, which run on this machine. Imports torch: seconds, and only when needed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from nexus_core import PluginError
from nexus_core.toolkit import unit_vectors

Vectors = npt.NDArray[np.float32]


@frozen(eq=False)
class SentenceEmbedder:
    """Runs a model."""

    model: Any
    embedding_id: str
    batch: int = 64
    at_once: int = 1
    dimensions: int | None = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors, from a thread."""
        return await asyncio.to_thread(self._vectors, texts)

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        sound = [text.encode("utf-8", "replace").decode() for text in texts]
        found = self.model.encode(sound, batch_size=self.batch, show_progress_bar=False, convert_to_numpy=True)
        return unit_vectors(np.asarray(found, np.float32))


def load(model: str, *, download: bool = False) -> SentenceEmbedder:
    """Load a model from a folder, or by its name from those on this machine; the network only with `download`.

    Raises PluginError where there is no such model.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # it writes over what the command prints
    try:
        loaded = SentenceTransformer(model, local_files_only=not download)
    except Exception as error:  # of three libraries, of any class
        hint = "" if download else "; or allow it to be fetched once with `download: true`"
        raise PluginError(
            f"no sentence-transformers model {model!r} can be loaded on this machine "
            f"({type(error).__name__}): give the path of its folder, or `static`{hint}"
        ) from error
    return SentenceEmbedder(loaded, f"sentence:{model}", dimensions=loaded.get_sentence_embedding_dimension())
