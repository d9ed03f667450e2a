"""The vectors of items: one for each part of a few sentences, kept with the item, and all of them as one matrix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
from attrs import frozen

from nexus_core import FeatureKey, Item, RankerError
from nexus_core.toolkit import KEPT_NUMBERS, TextEmbedder

Vectors = npt.NDArray[np.float32]
Key = FeatureKey[bytes]
"""What the vectors of an item are kept under, by `vector_key`."""
Cut = Callable[[Item], list[str]]

_KEPT = np.dtype(KEPT_NUMBERS)
_STEP = np.float32(2.0**11)


@frozen(eq=False)
class VectorIndex:
    """The vectors of a tuple of items.

    Numbers are multiples of 2^-11: then each product and each sum of a cosine is exact in 32 bits, and the score is the
    same on every machine and in every place of the matrix. It moves a cosine by 0.0002 or so.
    """

    rows: Vectors
    starts: npt.NDArray[np.intp]
    """The first row of each item."""

    def scores(self, query: Vectors) -> Vectors:
        """Return for each item the cosine of the part that is most like the query."""
        # Not `@`: its threads wait for one another on a busy machine, and it took five times as long there.
        cosines = np.einsum("ij,j->i", self.rows, _rounded(query))
        return cosines if len(self.starts) == len(self.rows) else np.maximum.reduceat(cosines, self.starts)


def lacking(items: Sequence[Item], key: Key, width: int) -> list[Item]:
    """Return the items that have no vectors of this width, also not from a store."""
    size = width * _KEPT.itemsize
    return [item for item in items if not isinstance(kept := item.features.get(key), bytes) or len(kept) % size]


async def fill(embedder: TextEmbedder, items: Sequence[Item], key: Key, width: int, cut: Cut) -> None:
    """Give vectors to items, those of a batch at a time: what is done stays done when a later one fails."""
    size = embedder.batch * embedder.at_once
    for start in range(0, len(items), size):
        group = items[start : start + size]
        parts = await asyncio.to_thread(_cut_all, cut, group)
        found = await _embedded(embedder, [*chain.from_iterable(parts)], width)
        at = 0
        for item, own in zip(group, parts, strict=True):
            item.features.put(key, found[at : at + len(own)].tobytes())
            at += len(own)


def _cut_all(cut: Cut, items: Sequence[Item]) -> list[list[str]]:
    return [*map(cut, items)]


async def _embedded(embedder: TextEmbedder, texts: Sequence[str], width: int) -> npt.NDArray[np.float16]:
    batches = [texts[start : start + embedder.batch] for start in range(0, len(texts), embedder.batch)]
    found: list[npt.NDArray[np.float16]] = []
    for start in range(0, len(batches), embedder.at_once):
        wave = batches[start : start + embedder.at_once]
        # All come to their end, also when one fails: no request goes on behind the back of whoever asked.
        for vectors in await asyncio.gather(*map(embedder.embed, wave), return_exceptions=True):
            if isinstance(vectors, BaseException):
                raise vectors
            if vectors.shape[1] != width:
                raise RankerError(
                    f"ranker 'semantic': {embedder.embedding_id} gave vectors of {width} and {vectors.shape[1]}"
                )
            found.append(vectors.astype(_KEPT))
    return np.concatenate(found) if found else np.empty((0, width), _KEPT)


def stack(items: Sequence[Item], key: Key, width: int) -> VectorIndex:
    """Return the vectors of items as one matrix; an item without any text has one of zeros."""
    nothing = bytes(width * _KEPT.itemsize)
    kept = [item.features.get(key) or nothing for item in items]
    counts = np.array([len(data) // len(nothing) for data in kept])
    rows = np.frombuffer(b"".join(kept), _KEPT).reshape(-1, width)
    return VectorIndex(_rounded(np.nan_to_num(rows, posinf=0, neginf=0)), counts.cumsum() - counts)


def _rounded(vectors: npt.NDArray[np.floating]) -> Vectors:
    return np.asarray(np.rint(vectors.astype(np.float32) * _STEP) / _STEP, np.float32)
