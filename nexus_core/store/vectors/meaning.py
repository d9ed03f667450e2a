"""Search by meaning in the contexts of a store, in the thread that reads: what is open of each, as new as it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import islice, takewhile
from math import fsum, inf, sqrt
from typing import TYPE_CHECKING

from attrs import frozen

from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import Context
from nexus_core.store.search.cache import still_there
from nexus_core.store.search.indexes import SearchableVectors
from nexus_core.store.search.visibility import VisibleKeys
from nexus_core.store.vectors.vector_model import VectorModel
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.store.vectors import context_vectors, graph, matrix
    from nexus_core.store.vectors.context_vectors import ContextVectors
    from nexus_core.store.vectors.matrix import Vector
else:  # for contexts with vectors
    context_vectors, graph, matrix = (
        LazyModule(f"nexus_core.store.vectors.{name}") for name in ("context_vectors", "graph", "matrix")
    )

_log = logging.getLogger(__name__)


@frozen(eq=False, repr=False)
class QueryVector:
    """A query as a model understands it."""

    model: VectorModel
    vector: Vector


class MeaningSearch:
    """The vectors of contexts that are open."""

    def __init__(self, folder: StorePaths, connection: SqlConnection) -> None:
        self._folder = folder
        self._connection = connection
        self._open: dict[tuple[int, VectorModel], ContextVectors] = {}
        self.unarranged: dict[str, Context] = {}
        """Contexts by name whose graph was not there for the last search, and should be."""

    def vectors_of(self, context: Context, model: VectorModel) -> ContextVectors | None:
        """Return the vectors of a context by a model, `None` where it has none of it."""
        number = model.number(self._connection)
        if number is None:
            return None
        generation, newest = context_vectors.graph_state(self._connection, context, number) or ("", 0)
        known = self._open.get((context.id, model))
        if known is not None and known.graph is not None and not known.graph.is_untouched():
            known = None
        if known is None or known.generation != generation:
            known = self._opened(context, model, number, generation, newest)
            self._open[context.id, model] = known
        known.catch_up(self._connection, context)
        if known.graph is None and (generation or len(known.fresh) > graph.EXACT):
            self.unarranged[context.name] = context
        else:
            self.unarranged.pop(context.name, None)
        return known if known.graph is not None or len(known.fresh) else None

    def _opened(
        self, context: Context, model: VectorModel, number: int, generation: str, newest: int
    ) -> ContextVectors:
        """Open the graph of a context; where it is damaged all vectors are read from the database."""
        found = None
        if generation:
            try:
                found = graph.VectorGraph(self._folder.vectors / f"{context.id}-{number}-{generation}", model.width)
            except graph.GraphDamagedError as error:
                _log.warning(
                    "the vectors of %r are compared one by one until they are arranged anew: %s",
                    context.name, error,
                )  # fmt: skip
        empty = matrix.VectorMatrix.empty(model.width)
        return context_vectors.ContextVectors(
            model, number, newest if found is not None else 0, generation, found, empty
        )


def nearest_there(
    connection: SqlConnection,
    context: Context,
    vectors: SearchableVectors,
    query: Vector,
    wanted: int,
    visible: VisibleKeys | None,
) -> list[int]:
    """Return the items that may be among the nearest, and are there still: until there are enough of them."""
    asked, seen = wanted, -1
    while True:
        found = vectors.nearest(query, asked, visible)
        near = _as_near(found, [*found][wanted - 1 : wanted])
        keys = still_there(connection, context, near)
        if near and keys[:wanted] == near[:wanted]:  # as mostly: none of them is gone
            return keys
        keys = still_there(connection, context, [*islice(found, max(asked, 2 * wanted))])
        if len(keys) >= wanted or len(found) <= seen:
            break
        seen, asked = len(found), asked * 4
    if len(keys) < wanted:
        return keys
    return still_there(connection, context, _as_near(found, [keys[wanted - 1]]))


def _as_near(found: Mapping[int, float], last: Sequence[int]) -> list[int]:
    """Return the items, best first, that may be as near as the last one by their rough cosines; none without one."""
    least = min([found[key] for key in last], default=inf) - matrix.ROUGH
    return [*takewhile(lambda key: found[key] >= least, found)]


_USUAL = 1.5
"""What vectors count against words ..."""
_USUAL_OF_TABLE = 0.5
"""... and those of the static table, less than in `semantic`: the mean nDCG@10 of seven collections, 150 candidates of
each kind, is .668 so, .664 with 0.7 and .663 with 1."""


def usual_weight(model: VectorModel) -> float:
    """Return what the vectors of a model count against words."""
    return _USUAL_OF_TABLE if model.name.startswith("static:") else _USUAL


def fused(words: Mapping[int, float], meaning: Mapping[int, float], weight: float) -> dict[int, float]:
    """Return one score for each item: the sum of both on a scale they share, the deviation from their mean.

    `weight` is what meaning counts against words.
    """
    keys = list(dict.fromkeys([*words, *meaning]))
    total = dict.fromkeys(keys, 0.0)
    for scores, worth in ((words, 1.0), (meaning, weight)):
        column = [scores.get(key, 0.0) for key in keys]
        # Sums that are rounded once: they are the same in whatever order items were found.
        mean = fsum(column) / max(len(column), 1)
        spread = sqrt(fsum([(score - mean) ** 2 for score in column]) / max(len(column), 1))
        if spread > 0:
            for key, score in zip(keys, column, strict=True):
                total[key] += worth * (score - mean) / spread
    return total
