"""Looks at the vectors of a context for what is damaged or missing, without its model. Everything here blocks.

What is wrong is derived from the items, or can be worked out of them: `mend_vectors` forgets it, and who has the model
embeds what lacks then.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from nexus_core.store.database.connection import snapshot
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import SqlConnection, copies_of
from nexus_core.store.items.rows import page_of_keys, read_items
from nexus_core.store.items.vectors import vectors_of
from nexus_core.store.records import Context
from nexus_core.store.vectors.context_vectors import graph_state, newest_part
from nexus_core.store.vectors.graph import EXACT, GraphDamagedError, VectorGraph, delete_graph, has_graphs
from nexus_core.store.vectors.graph_upkeep import WITHOUT_GRAPH, count_rows, graph_folder, unnamed_graphs, vectors_turn
from nexus_core.store.vectors.vector_model import EmbeddedModel, VectorModel, chosen_model, known_model
from nexus_core.toolkit.embedding.embedder import item_parts
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
    model = chosen_model(connection, context)
    known = known_model(connection, context)
    if known is not None:
        with snapshot(connection, folder.database):
            damaged = len(_damaged(connection, context, known))
        if damaged:
            yield f"the vectors of {counted(damaged, 'item')} in {context.name!r} are damaged: {_REPAIR}"
        faults = Counter(fault for _, fault in _with_faults(connection, folder, context, known))
        for fault, count in sorted(faults.items()):
            yield f"the vectors of {counted(count, 'item')} in {context.name!r} hold {fault}: {_REPAIR}"
    lacking = [] if model is None else [*_lacking(connection, folder, context, model)]
    with vectors_turn(folder, context) as ours:
        is_embedding = not ours and folder.may_be_written()
        # What is newer than the last pass is on its way while another process makes vectors.
        count = _count_lacking(connection, context, model, lacking, is_embedding) if model is not None else 0
        if count:
            yield f"{counted(count, 'item')} in {context.name!r} should have vectors and have none: {_REPAIR}"
        if is_embedding:
            return
        if known is not None and has_graphs():
            yield from _graph(connection, folder, context, known)
        for path in unnamed_graphs(connection, folder, context):
            yield f"{path} is a graph of {context.name!r} that nothing names: `nexus context check --repair` deletes it"


def _damaged(connection: SqlConnection, context: Context, known: EmbeddedModel) -> list[int]:
    """Return the keys of the items whose pieces are no whole number of vectors, or not one after the other."""
    found = connection.execute(
        "SELECT item_key FROM vector_parts JOIN items ON items.key = item_key WHERE context_id = ? AND model_id = ?"
        " GROUP BY item_key HAVING sum(length(data)) % ? <> 0 OR max(part) <> count(*) - 1 OR min(part) <> 0",
        (context.id, known.number, known.model.bytes_each),
    )
    return [key for (key,) in found]


def _with_faults(
    connection: SqlConnection, folder: StorePaths | None, context: Context, known: EmbeddedModel
) -> Iterator[tuple[int, str]]:
    """Yield the keys of the items that have a vector of which no cosine can be, and what it is; reads all vectors.

    Without a folder it is called in a transaction.
    """
    after = 0
    while True:
        with snapshot(connection, folder.database) if folder is not None else nullcontext():
            keys = page_of_keys(connection, context, after=after, limit=_PAGE)
            vectors = vectors_of(connection, keys)
        for (key, model), data in vectors.items():
            if model == known.model.name and len(data) % known.model.bytes_each == 0:
                rows = np.frombuffer(data, np.dtype("<u2")).reshape(-1, known.model.width)
                # The exponent of what is not finite is all ones; the highest bit is the sign.
                if (rows & 0x7C00 == 0x7C00).any():
                    yield key, "numbers that are not finite"
                elif not (rows & 0x7FFF).any(axis=1).all():
                    yield key, "one of zeros alone, to which nothing is similar"
        if len(keys) < _PAGE:
            return
        after = keys[-1]


def _lacking(connection: SqlConnection, folder: StorePaths, context: Context, model: VectorModel) -> Iterator[int]:
    """Yield the keys of the items with text that have no vectors."""
    after = 0
    while True:
        with snapshot(connection, folder.database):
            keys = [
                key
                for (key,) in connection.execute(
                    "SELECT key FROM items WHERE context_id = ? AND key > ? AND NOT EXISTS"
                    " (SELECT 1 FROM vector_parts WHERE item_key = items.key AND model_id = ?) ORDER BY key LIMIT ?",
                    (context.id, after, model.number(connection) or 0, _PAGE),
                )
            ]
            items = read_items(connection, keys)
        if not keys:
            return
        yield from (key for key, item in items.items() if item_parts(item))
        after = keys[-1]


def _count_lacking(
    connection: SqlConnection, context: Context, model: VectorModel, keys: Sequence[int], is_embedding: bool
) -> int:
    """Return how many of these items still have no vectors; while others come, of those that were embedded once."""
    (embedded,) = connection.execute("SELECT embedded FROM contexts WHERE id = ?", (context.id,)).fetchone() or (0,)
    if is_embedding:
        keys = [key for key in keys if key <= embedded]
    number, count = model.number(connection) or 0, 0
    for start in range(0, len(keys), _PAGE):
        (some,) = connection.execute(
            "SELECT count(*) FROM items WHERE key IN (SELECT value FROM json_each(?) AS numbers) AND NOT EXISTS"
            " (SELECT 1 FROM vector_parts WHERE item_key = items.key AND model_id = ?)",
            (json.dumps(keys[start : start + _PAGE]), number),
        ).fetchone()
        count += int(some)
    return count


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
    if known is not None:
        faulty = (key for key, _ in _with_faults(connection, None, context, known))
        for key in {*_damaged(connection, context, known), *faulty}:
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
