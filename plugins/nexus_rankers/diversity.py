"""Maximal marginal relevance in numpy: how alike items are, and the order in which each adds most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nexus_core import Item
from nexus_core.toolkit import terms

Array = npt.NDArray[np.float64]

_EQUAL = 0.8
"""The cosine from which on an item is a copy of another, such as a page and its mirror with another footer; among 400
abstracts of scifact, none a copy, the highest is 0.52."""


def likeness_of(items: Sequence[Item], query: str) -> tuple[Array, Array]:
    """Return the cosines among the items, and of each with the query."""
    counted = [Counter(terms(f"{item.title} {item.text}", kind=item.kind)) for item in items]
    counted.append(Counter(terms(query)))
    number: dict[str, int] = {}
    for counts in counted:
        for stem in counts:
            number.setdefault(stem, len(number))
    vectors = np.zeros((len(counted), max(len(number), 1)))
    for row, counts in enumerate(counted):
        vectors[row, [number[stem] for stem in counts]] = np.log1p(list(counts.values()))
    vectors *= np.log(len(counted) / np.maximum(np.count_nonzero(vectors, axis=0), 1)) + 1.0
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = np.minimum(vectors @ vectors.T, 1.0)
    return cosines[:-1, :-1], cosines[-1, :-1]


def reordered(
    relevance: Array, likeness: Array, matches: npt.NDArray[np.bool_], weight: float
) -> tuple[list[int], list[float]]:
    """Return the places in their new order and the gain of each; the gains never rise."""
    order: list[int] = []
    gains: list[float] = []
    nearest = np.zeros(len(relevance))
    left = np.ones(len(relevance), bool)
    for _ in range(len(relevance)):
        gain = weight * relevance - (1 - weight) * nearest
        copies = (nearest >= _EQUAL) & (weight < 1)
        own = left & ~copies & matches
        waiting = own if own.any() else left
        place = int(np.where(waiting, gain, -np.inf).argmax())
        order.append(place)
        # A copy may gain more than what it was put behind.
        behind = bool(gains) and gain[place] > gains[-1]
        gains.append(float(np.nextafter(gains[-1], -np.inf) if behind else gain[place]))
        left[place] = False
        nearest = np.maximum(nearest, likeness[place])
    return order, gains
