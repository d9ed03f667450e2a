"""Vectors without running a model: the mean of a table's vectors over the tokens of a text.

The table (l2_supercat of wordllama: 32,000 tokens, 256 numbers each, MIT) and its tokenizer are read as files of the
installed package. Its own loader looks for the tokenizer on the network and imports what is not needed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from nexus_core import PluginError
from nexus_core.toolkit import unit_vectors

Vectors = npt.NDArray[np.float32]

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_SHORT = 4096
"""Characters that are encoded at once, since a thread would take longer than that."""


@frozen(eq=False)
class StaticEmbedder:
    """Looks up tokens in a table."""

    table: Vectors
    tokenizer: Any
    embedding_id: str = "static:l2_supercat_256"
    batch: int = 512
    at_once: int = 1

    @property
    def dimensions(self) -> int:
        """Those of the table."""
        return int(self.table.shape[1])

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors, from a thread where that takes longer than a moment."""
        if sum(map(len, texts)) <= _SHORT:
            return self.vectors(texts)
        return await asyncio.to_thread(self.vectors, texts)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors."""
        found = np.zeros((len(texts), self.table.shape[1]), np.float32)
        encoded = self.tokenizer.encode_batch_fast([*map(_sound, texts)], add_special_tokens=False)
        for place, text in enumerate(encoded):
            if text.ids:
                found[place] = self.table[text.ids].sum(axis=0)
        return unit_vectors(found)


def _sound(text: str) -> str:
    """Return a text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def load(model: str, *, download: bool = False) -> StaticEmbedder:
    """Read the table and its tokenizer, of which there is one; no network ever."""
    places = getattr(find_spec("wordllama"), "submodule_search_locations", None) or ["."]
    folder = Path(places[0])
    try:
        (table,) = load_file(folder / _WEIGHTS).values()
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as error:  # tokenizers raises bare Exceptions
        raise PluginError(
            f"the package wordllama lacks {_WEIGHTS} or {_TOKENIZER}, or they cannot be read "
            f"({type(error).__name__}): pip install --force-reinstall 'contextnexus[static]'"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return StaticEmbedder(table.astype(np.float32), tokenizer)
