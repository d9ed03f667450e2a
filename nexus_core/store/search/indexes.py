"""The seam to engines of search: what the store asks of an index of words and of one of vectors, and no more.

An index proposes keys of items; the rows say what these stand for, who may see them, and what they score in the end.
The store comes with tantivy for words and usearch for vectors, in folders. Another engine, in a service for instance,
is given to `WorkerThreads` before the store is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from nexus_core.store.records import Context
from nexus_core.store.search.visibility import VisibleKeys
from nexus_core.store.vectors.vector_model import VectorModel

if TYPE_CHECKING:
    from nexus_core.store.vectors.matrix import Vector

_K1, _B = 1.2, 0.75
"""Of BM25, as in tantivy."""


class IndexDamagedError(Exception):
    """An index is not there, or not what it should be: build it anew."""


def word_score(weight: float, count: float, length: float, average: float) -> float:
    """Return what a word of a weight gives an item by BM25, whose items have so many words on average."""
    return weight * (_K1 + 1) * count / (count + _K1 * (1 - _B + _B * length / max(average, 1e-9)))


class WordIndex(Protocol):
    """The index of the words of one context, in one generation; raises IndexDamagedError, else errors of the store."""

    @property
    def scored_length(self) -> float:
        """The average length by which `search` scores, known once a word was found."""

    @property
    def average_length(self) -> float:
        """How many stems the items have on average, those that are removed not counted."""

    def __len__(self) -> int:
        """Return how many items it holds."""

    def reload(self) -> None:
        """See what has been committed since, by whichever process."""

    def is_untouched(self) -> bool:
        """Tell whether it can be read on as it is; asked once a second."""

    def count_newer(self, key: int) -> int:
        """Return how many items with larger keys there are."""

    def holding(self, stem: str) -> int:
        """Return how many items hold a stem, those that are removed not counted."""

    def lengths_of(self, keys: Sequence[int]) -> dict[int, int]:
        """Return how many stems each of some items has."""

    def counts_of(self, keys: Sequence[int], stems: Iterable[str]) -> dict[int, tuple[dict[str, float], float]]:
        """Return how often each of some items holds each stem, and its length as `search` scores by it."""

    def search(
        self,
        asked: Mapping[str, float],
        limit: int,
        among: Sequence[int] | None = None,
        required: Sequence[Collection[str]] = (),
    ) -> list[tuple[int, float]]:
        """Return (key, score) of the best items for some stems, best first; of some keys only.

        The score is the sum of `word_score` over the stems, each with the weight that `asked` tells, by `scored_length`
        and with the precision of 32 bits at least. Of each group of `required` stems an item holds at least one.
        """

    def keys(self) -> Iterator[int]:
        """Yield the keys of all items that are in the index."""

    def writer(self) -> WordIndexWriter:
        """Return a writer; only who holds the lock of the context's index asks for one."""


class WordIndexWriter(Protocol):
    """Changes an index; what is written counts from the commit on. Raises as `WordIndex`, and StoreError once ended."""

    @property
    def is_open(self) -> bool:
        """Whether it can be written still."""

    def add(self, key: int, words: str) -> None:
        """Add an item by its stems, each followed by a space; its length is how many there are."""

    def remove(self, keys: Iterable[int]) -> None:
        """Remove items, those that are not there included."""

    def remove_newer(self, key: int) -> None:
        """Remove all items with larger keys."""

    def commit(self) -> None:
        """Make durable what was written."""

    def close(self) -> None:
        """End it after a commit."""

    def abandon(self) -> None:
        """Let go of the index; what was not committed is lost."""


class WordIndexes(Protocol):
    """The indexes of a store's contexts; the name of one is `context-generation`, and never used twice."""

    def open(self, name: str) -> WordIndex:
        """Return an index that is there; raises IndexDamagedError."""

    def create(self, name: str) -> WordIndex:
        """Return a new, empty one."""

    def delete(self, name: str) -> None:
        """Delete one, if it is there; whoever still reads it can do so until they are done."""

    def names_of(self, context_id: int) -> list[str]:
        """Return the names of all that are there of a context."""

    def damage_of(self, name: str) -> list[str]:
        """Return what of an index its checksums say is damaged; nothing where it keeps none."""


class SearchableVectors(Protocol):
    """The vectors of one context by one model, as new as the rows."""

    def nearest(self, query: Vector, count: int, visible: VisibleKeys | None) -> Mapping[int, float]:
        """Return the visible items whose vectors are nearest to a query, the best first, each with its cosine.

        At least `count` where there are so many; more where that costs nothing. Items that are gone may be among them.
        """

    def cosines_of(self, query: Vector, keys: Sequence[int]) -> dict[int, float]:
        """Return the cosine of each of some items that has a vector: exact, of an item with several the largest."""


class VectorIndexes(Protocol):
    """The vectors of a store's contexts, for the thread that reads."""

    unarranged: dict[str, Context]
    """Contexts by name whose vectors lack the graph that they should have; nothing where no graph is made."""

    def vectors_of(self, context: Context, model: VectorModel) -> SearchableVectors | None:
        """Return the vectors of a context by a model, `None` where it has none of it."""
