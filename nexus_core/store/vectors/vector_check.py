"""Looks at the vectors of a context for what is damaged or missing, without its model. Everything here blocks.

What is wrong is derived from the items, or can be worked out of them: `mend_vectors` forgets it, and who has the model
embeds what lacks then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nexus_core.store.database.connection import snapshot
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import SqlConnection, copies_of
from nexus_core.store.items.rows import read_items
from nexus_core.store.records import Context
from nexus_core.store.vectors.context_vectors import graph_state, newest_part
from nexus_core.store.vectors.graph import EXACT, GraphDamagedError, VectorGraph, delete_graph, has_graphs
from nexus_core.store.vectors.graph_upkeep import WITHOUT_GRAPH, count_rows, graph_folder, unnamed_graphs, vectors_turn
from nexus_core.store.vectors.vector_model import EmbeddedModel, known_model
from nexus_core.toolkit.embedding.embedder import KEPT_NUMBERS, item_parts
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.suggest import counted

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

_PAGE = 500
_REPAIR = "`nexus context check --repair` makes them anew, where their model is here"
_ARRANGE = "`nexus context check --repair` makes it anew"


def vector_problems(connection: SqlConnection, folder: StorePaths, context: Context) -> Iterator[str]:
    """Yield what is wrong with the vectors of a context, each in a sentence."""
    known = known_model(connection, context)
    if known is not None:
        with snapshot(connection, folder.database):
            damaged = len(_damaged(connection, context, known))
        if damaged:
            yield f"the vectors of {counted(damaged, 'item')} in {context.name!r} are damaged: {_REPAIR}"
        lacking = sum(1 for _ in _lacking(connection, folder, context, known))
        if lacking:
            yield f"{counted(lacking, 'item')} in {context.name!r} should have vectors and have none: {_REPAIR}"
    with vectors_turn(folder, context) as ours:
        if not ours and folder.may_be_written():
            return  # another process makes vectors and graphs: what is there is on its way
        if known is not None and has_graphs():
            yield from _graph(connection, folder, context, known)
        for path in unnamed_graphs(connection, folder, context):
            yield f"{path} is a graph of {context.name!r} that nothing names: `nexus context check --repair` deletes it"


def _damaged(connection: SqlConnection, context: Context, known: EmbeddedModel) -> list[int]:
    """Return the keys of the items whose pieces are no whole number of vectors, or not one after the other."""
    found = connection.execute(
        "SELECT item_key FROM vector_parts JOIN items ON items.key = item_key WHERE context_id = ? AND model_id = ?"
        " GROUP BY item_key HAVING sum(length(data)) % ? <> 0 OR max(part) <> count(*) - 1 OR min(part) <> 0",
        (context.id, known.number, known.model.width * np.dtype(KEPT_NUMBERS).itemsize),
    )
    return [key for (key,) in found]


def _lacking(connection: SqlConnection, folder: StorePaths, context: Context, known: EmbeddedModel) -> Iterator[int]:
    """Yield the keys of the items with text that were embedded, as the context says, and have no vectors."""
    after = 0
    while True:
        with snapshot(connection, folder.database):
            keys = [
                key
                for (key,) in connection.execute(
                    "SELECT key FROM items WHERE context_id = ? AND key > ?"
                    " AND key <= (SELECT embedded FROM contexts WHERE id = context_id) AND NOT EXISTS"
                    " (SELECT 1 FROM vector_parts WHERE item_key = items.key AND model_id = ?) ORDER BY key LIMIT ?",
                    (context.id, after, known.number, _PAGE),
                )
            ]
            items = read_items(connection, keys)
        if not keys:
            return
        yield from (key for key, item in items.items() if item_parts(item))
        after = keys[-1]


def _graph(connection: SqlConnection, folder: StorePaths, context: Context, known: EmbeddedModel) -> Iterator[str]:
    state = graph_state(connection, context, known.number)
    if state is None:
        return
    generation, newest = state
    try:
        graph = VectorGraph(graph_folder(folder, context, known.number, generation), known.model.width)
    except GraphDamagedError as error:
        yield f"the graph of {context.name!r} is damaged ({error}): {_ARRANGE}"
        return
    kept = np.unique(graph.keys)
    with snapshot(connection, folder.database):
        rows = connection.execute(
            "SELECT DISTINCT item_key FROM vector_parts JOIN items ON items.key = item_key"
            " WHERE context_id = ? AND model_id = ? AND vector_parts.key <= ?",
            (context.id, known.number, newest),
        )
        live = np.sort(np.fromiter((key for (key,) in rows), np.int64))
        foreign = _count_foreign(connection, context, np.setdiff1d(kept, live, assume_unique=True))
    lost = len(np.setdiff1d(live, kept, assume_unique=True))
    if lost:
        yield f"the graph of {context.name!r} lacks {counted(lost, 'item')}: {_ARRANGE}"
    if foreign:
        yield f"the graph of {context.name!r} holds {counted(foreign, 'item')} that were never in it: {_ARRANGE}"


def _count_foreign(connection: SqlConnection, context: Context, keys: np.ndarray) -> int:
    """Return how many keys without a row can be none of items that are gone: never given, or of another context."""
    (following,) = connection.execute(
        "SELECT coalesce((SELECT CAST(value AS BIGINT) FROM settings WHERE name = 'next_key'), 1)"
    ).fetchone()
    given = keys[(keys > 0) & (keys < following)]
    count = len(keys) - len(given)
    for start in range(0, len(given), _PAGE):
        told = json.dumps(given[start : start + _PAGE].tolist())
        (others,) = connection.execute(
            "SELECT count(*) FROM items WHERE key IN (SELECT value FROM json_each(?) AS numbers) AND +context_id <> ?",
            (told, context.id),
        ).fetchone()
        count += int(others)
    return count


def graph_note(connection: SqlConnection, context: Context) -> str:
    """Return what is to be said of a context of many vectors where no graph of them can be made or read."""
    known = known_model(connection, context)
    if known is None or has_graphs():
        return ""
    is_many = count_rows(connection, context, known.model, known.number, newest_part(connection)) > EXACT
    return WITHOUT_GRAPH.format(name=repr(context.name), most=EXACT) if is_many else ""


def mend_vectors(connection: SqlConnection, context: Context) -> None:
    """Forget what is damaged of the vectors of a context, and its graph; to be called in a transaction."""
    known = known_model(connection, context)
    for key in _damaged(connection, context, known) if known is not None else ():
        connection.execute("DELETE FROM vector_parts WHERE item_key = ?", (key,))
    copies_of(connection).execute("DELETE FROM vector_indexes WHERE context_id = ?", (context.id,))


def orphaned_graphs(connection: SqlConnection, folder: StorePaths) -> list[Path]:
    """Return what is in the folder of graphs and belongs to no context."""
    ids = {str(number) for (number,) in connection.execute("SELECT id FROM contexts")}
    return sorted(path for path in folder.vectors.glob("*") if path.name.partition("-")[0] not in ids)


def delete_orphaned(connection: SqlConnection, folder: StorePaths) -> None:
    """Delete it."""
    for path in orphaned_graphs(connection, folder):
        delete_graph(path)
