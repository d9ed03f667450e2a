"""Vectors in eight bits: a row for each part of an item, compared one by one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

from attrs import define

from nexus_core.toolkit.embedding.embedder import KEPT_NUMBERS
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Keys = npt.NDArray[np.int64]
    Rows = npt.NDArray[np.int8]
    Vector = npt.NDArray[np.float32]
else:
    np = LazyModule("numpy")
    Keys = Rows = Vector = Any


ROUGH = 1e-4
"""How far a rough cosine may be from the exact one, of up to 4,096 numbers."""
_MOST = 127
_FINE = 2.0**24
"""What the numbers of a query are whole numbers of: the sums stay below 2^53."""
_AT_ONCE = 8192
"""Rows that are widened at a time."""


def quantized(vectors: npt.NDArray[np.floating]) -> Rows:
    """Return vectors in eight bits, each by its own largest number: a cosine asks for directions alone."""
    wide = np.nan_to_num(np.asarray(vectors, np.float32), posinf=0, neginf=0)
    peak = np.abs(wide).max(axis=1, keepdims=True)
    return np.asarray(np.rint(wide * (_MOST / np.where(peak > 0, peak, 1))), np.int8)


def cosines(rows: Rows, query: Vector) -> Vector:
    """Return the cosine of each row and a query of unit length; 0 for rows of nothing."""
    found = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        wide = rows[start : start + _AT_ONCE].astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        found[start : start + _AT_ONCE] = np.einsum("ij,j->i", wide, query) / np.where(lengths > 0, lengths, 1)
    return found


def exact_cosines(rows: Rows, query: Vector) -> npt.NDArray[np.float64]:
    """Return the same whatever rows stand beside each: of whole numbers, whose sums no order changes."""
    wide = rows.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide)) * _FINE
    whole = np.rint(np.asarray(query, np.float64) * _FINE)
    return np.asarray(np.einsum("ij,j->i", wide, whole) / np.where(lengths > 0, lengths, 1))


@define(eq=False)
class VectorMatrix:
    """The rows of some items; those of one stand together."""

    keys: Keys
    """The item of each row."""
    rows: Rows

    @classmethod
    def empty(cls, width: int) -> Self:
        """Return one without rows."""
        return cls(np.empty(0, np.int64), np.empty((0, width), np.int8))

    @classmethod
    def of(cls, kept: Iterable[tuple[int, bytes]], width: int) -> Self:
        """Return those of (item, a piece of its kept vectors), in the order in which the pieces belong together.

        What is not a whole number of vectors, of another model or damaged, is left out.
        """
        size = width * np.dtype(KEPT_NUMBERS).itemsize
        keys, rows = [], []
        for key, pieces in groupby(kept, key=lambda each: each[0]):
            data = b"".join(data for _, data in pieces)
            if data and not len(data) % size:
                vectors = np.frombuffer(data, KEPT_NUMBERS).reshape(-1, width)
                rows.append(quantized(vectors))
                keys.append(np.full(len(vectors), key, np.int64))
        if not rows:
            return cls.empty(width)
        return cls(np.concatenate(keys), np.concatenate(rows))

    def __len__(self) -> int:
        return len(self.keys)

    def joined(self, other: Self) -> Self:
        """Return the rows of both."""
        if not len(other):
            return self
        return type(self)(np.concatenate([self.keys, other.keys]), np.concatenate([self.rows, other.rows]))

    def only(self, mask: npt.NDArray[np.bool_]) -> Self:
        """Return some of the rows."""
        return type(self)(self.keys[mask], self.rows[mask])

    def scores_of(self, query: Vector) -> Vector:
        """Return the cosine of each row and a query of unit length."""
        return cosines(self.rows, query)


def best_of(keys: Keys, scores: npt.NDArray[np.floating]) -> dict[int, float]:
    """Return the best score of each key, the best first."""
    order = np.argsort(-scores, kind="stable")
    found: dict[int, float] = {}
    for key, score in zip(keys[order].tolist(), scores[order].tolist(), strict=True):
        found.setdefault(key, score)
    return found
