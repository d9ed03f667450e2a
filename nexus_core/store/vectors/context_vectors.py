"""The vectors of a context as they are searched: a graph of most of them, if there is one, and the rest in memory.

The rows of the database are the truth. Each part of a vector there has a key that is never used twice, and a graph says
up to which key it has come: what is newer is read, and compared one by one. What is gone since is found by nobody,
since the database is asked for every item that is returned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from attrs import define

from nexus_core.store.database.sql import SqlConnection, copies_of
from nexus_core.store.records import Context
from nexus_core.store.search.visibility import VisibleKeys
from nexus_core.store.vectors.graph import EXACT_VISIBLE, MOST_ASKED, VectorGraph
from nexus_core.store.vectors.matrix import Keys, Vector, VectorMatrix, best_of, exact_cosines
from nexus_core.store.vectors.vector_model import VectorModel
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

_PAGE = 4000
"""Rows of the database that are read at a time."""
_PARTS = 3
"""How many rows are asked of a graph for each item that is wanted: several may be of one item."""
_SPARED = 4096
"""Rows in memory, from which on those of items that are gone are let go of."""


def newest_part(connection: SqlConnection) -> int:
    """Return the largest key of all parts of vectors."""
    return int(connection.execute("SELECT coalesce(max(key), 0) FROM vector_parts").fetchone()[0])


def graph_state(connection: SqlConnection, context: Context, number: int) -> tuple[str, int] | None:
    """Return the generation of a context's graph and the last part in it, `None` where there is none."""
    found: tuple[str, int] | None = (
        copies_of(connection)
        .execute(
            "SELECT generation, newest FROM vector_indexes WHERE context_id = ? AND model_id = ?", (context.id, number)
        )
        .fetchone()
    )
    return found


def read_parts(
    connection: SqlConnection, context: Context, number: int, after: int, until: int
) -> Iterator[tuple[int, bytes]]:
    """Yield (item, a piece of its vectors) of a context, by a model, in their order, of those between two keys."""
    while after < until:
        found = connection.execute(
            "SELECT vector_parts.key, item_key, data, items.context_id FROM vector_parts"
            " JOIN items ON items.key = item_key WHERE vector_parts.key > ? AND vector_parts.key <= ? AND model_id = ?"
            " ORDER BY vector_parts.key LIMIT ?",
            (after, until, number, _PAGE),
        ).fetchall()
        yield from ((item, data) for _, item, data, owner in found if owner == context.id)
        if len(found) < _PAGE:
            return
        after = found[-1][0]


@define(eq=False)
class ContextVectors:
    """The vectors of one context, by one model."""

    model: VectorModel
    number: int
    newest: int
    """The key of the last part that is in it."""
    generation: str
    graph: VectorGraph | None
    fresh: VectorMatrix
    """What is not in the graph."""
    swept: int = 0
    """How many of these there were when those of items that are gone were let go of last."""

    def catch_up(self, connection: SqlConnection, context: Context) -> None:
        """Take in what has come since."""
        until = newest_part(connection)
        if until > self.newest:
            parts = read_parts(connection, context, self.number, self.newest, until)
            self.fresh = self.fresh.joined(VectorMatrix.of(parts, self.model.width))
            self.newest = until
            if len(self.fresh) > 2 * self.swept + _SPARED:
                self._sweep(connection, context)

    def _sweep(self, connection: SqlConnection, context: Context) -> None:
        """Let go of the rows of items that are gone: a context that changes all the time does not grow by it."""
        live = np.zeros(len(self.fresh), bool)
        for start in range(0, len(live), _PAGE):
            some = self.fresh.keys[start : start + _PAGE]
            there = connection.execute(
                "SELECT key FROM items INDEXED BY items_of_contexts"
                " WHERE context_id = ? AND key IN (SELECT value FROM json_each(?) AS numbers)",
                (context.id, json.dumps(some.tolist())),
            )
            live[start : start + _PAGE] = np.isin(some, [key for (key,) in there])
        self.fresh = self.fresh.only(live)
        self.swept = len(self.fresh)

    def nearest(self, query: Vector, count: int, visible: VisibleKeys | None) -> dict[int, float]:
        """Return the items whose meaning is nearest to a query, the best first, each with its cosine.

        More than `count` where that costs nothing. What is visible and little is compared one by one.
        """
        fresh = self.fresh if visible is None else self.fresh.only(visible.mask(self.fresh.keys))
        found = [(fresh.keys, fresh.scores_of(query))]
        if self.graph is not None:
            # An item that is visible has a row at least, or no text: too many are not looked up.
            is_many = visible is None or len(visible) > EXACT_VISIBLE
            places = None if is_many or visible is None else self.graph.places_of_visible(visible)
            if places is not None and len(places) <= EXACT_VISIBLE:
                found.append(self.graph.scores(query, places))
            else:
                found.append(self._ask_graph(self.graph, query, count, visible))
        keys = np.concatenate([keys for keys, _ in found])
        return best_of(keys, np.concatenate([scores for _, scores in found]))

    def _ask_graph(
        self, graph: VectorGraph, query: Vector, count: int, visible: VisibleKeys | None
    ) -> tuple[Keys, Vector]:
        """Ask a graph for more until enough of what it gives is visible, or else compare all that is."""
        wanted = count * _PARTS
        if visible is None:
            return graph.nearest(query, wanted)
        share = min(1.0, len(visible) / max(graph.items, 1))
        wanted = min(MOST_ASKED, round(wanted / max(share, 1e-9)))
        while wanted <= MOST_ASKED:
            keys, scores = graph.nearest(query, wanted, share)
            mask = visible.mask(keys)
            if len(set(keys[mask].tolist())) >= count or wanted >= len(graph):
                return keys[mask], scores[mask]
            wanted *= 4
        return graph.scores(query, graph.places_of_visible(visible))

    def cosines_of(self, query: Vector, keys: Sequence[int]) -> dict[int, float]:
        """Return the cosine of each of some items that has a vector: the same to the last bit in every store."""
        asked = VisibleKeys(np.sort(np.asarray(keys, np.int64)))
        fresh = self.fresh.only(asked.mask(self.fresh.keys))
        owners, rows = [fresh.keys], [fresh.rows]
        if self.graph is not None:
            places = self.graph.places_of(asked.keys)
            owners.append(self.graph.keys[places])
            rows.append(self.graph.rows_at(places))
        return best_of(np.concatenate(owners), exact_cosines(np.concatenate(rows), query))
