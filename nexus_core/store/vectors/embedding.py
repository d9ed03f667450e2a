"""Embedding a context: the vectors of its items, page by page, then the graph of them, then the switch to the model.

What is done is kept: a pass that was killed goes on where it was. Until the switch a context is searched as it was, and
while another model is taken, by the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from nexus_core.contract.errors import StoreBusyError
from nexus_core.contract.values import Item
from nexus_core.store import contexts
from nexus_core.store.database.sql import SqlConnection, copies_of
from nexus_core.store.items.rows import read_items
from nexus_core.store.items.vectors import drop_vectors, keep_vectors, vectors_of
from nexus_core.store.records import Context
from nexus_core.store.vectors.graph_upkeep import Seen, delete_unnamed, update_graph, vectors_turn
from nexus_core.store.vectors.vector_model import VectorModel, forget_model, keep_model, known_model
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.embedding.embedder import KEPT_NUMBERS, TextEmbedder, item_parts, item_vectors_key
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

_PAGE = 256
"""Items that are embedded, and written, at a time."""


async def vector_model(embedder: TextEmbedder) -> VectorModel:
    """Return what the vectors of an embedder are kept under, and how many numbers one has."""
    width = embedder.dimensions
    if width is None:
        width = len((await embedder.embed(["width"]))[0])
    return VectorModel(str(item_vectors_key(embedder.embedding_id).parameter), width)


async def embed_context(
    threads: WorkerThreads,
    context: Context,
    name: str,
    embedder: TextEmbedder,
    seen: Seen | None = None,
    *,
    looks_at_all: bool = False,
) -> int:
    """Give vectors of a model to the items that lack them, and let searches use it; returns how many items that were.

    With `looks_at_all`, also items are looked at that had vectors when it was done last. Raises StoreBusyError where
    another process is at it.
    """
    with vectors_turn(threads.folder, context) as ours:
        if not ours:
            raise StoreBusyError(f"another process is embedding {context.name!r}: try again when it is done")
        model = await vector_model(embedder)
        is_new = context.embedder != name
        newest, embedded = await threads.read(_state, context)
        after = 0 if is_new or looks_at_all else embedded
        await _adopt(threads, context, name, model, after)
        count = await _fill(threads, context, model, embedder, after, seen)
        await update_graph(threads, context, model, seen)
        await threads.write(_switch, context, name, model, newest)
        if is_new:
            await threads.write(_drop_others, context, model)
            await threads.read(delete_unnamed, threads.folder, context)
        return count


async def arrange_vectors(threads: WorkerThreads, context: Context) -> None:
    """Make the graph of a context anew where one is due, and delete what nothing names; needs no model.

    Where another process is at its vectors, that is left to it.
    """
    with vectors_turn(threads.folder, context) as ours:
        if ours:
            known = await threads.read(known_model, context)
            if known is not None:
                await update_graph(threads, context, known.model)
            await threads.read(delete_unnamed, threads.folder, context)


def _state(connection: SqlConnection, context: Context) -> tuple[int, int]:
    found = connection.execute("SELECT newest, embedded FROM contexts WHERE id = ?", (context.id,)).fetchone()
    if found is None:
        contexts.find(connection, context.name)  # which says that it is not there
    newest, embedded = found
    return int(newest), int(embedded)


def _switch(connection: SqlConnection, context: Context, name: str, model: VectorModel, newest: int) -> None:
    connection.execute("UPDATE contexts SET embedder = ?, embedded = ? WHERE id = ?", (name, newest, context.id))
    keep_model(connection, context, model)


def _drop_others(connection: SqlConnection, context: Context, model: VectorModel) -> None:
    """Delete what other models have made of a context."""
    number = model.number(connection) or 0
    connection.execute(
        "DELETE FROM vector_parts WHERE model_id <> ? AND item_key IN (SELECT key FROM items WHERE context_id = ?)",
        (number, context.id),
    )
    copies_of(connection).execute(
        "DELETE FROM vector_indexes WHERE context_id = ? AND model_id <> ?", (context.id, number)
    )


def forget_vectors(connection: SqlConnection, context: Context) -> None:
    """Let a context be searched by words alone, and delete its vectors."""
    connection.execute("UPDATE contexts SET embedder = '', embedded = 0 WHERE id = ?", (context.id,))
    connection.execute(
        "DELETE FROM vector_parts WHERE item_key IN (SELECT key FROM items WHERE context_id = ?)", (context.id,)
    )
    copies_of(connection).execute("DELETE FROM vector_indexes WHERE context_id = ?", (context.id,))
    forget_model(connection, context)


# Vectors


async def _adopt(threads: WorkerThreads, context: Context, name: str, model: VectorModel, after: int) -> None:
    """Keep vectors that came with items by the name of the model under its own, page by page: they stand in its place.

    Whoever adds items knows `minilm`, and not what all its vectors depend on.
    """
    while keys := await threads.read(_find_named, context, name, after):
        await threads.write(_rename, keys, name, model)
        after = keys[-1]


def _find_named(connection: SqlConnection, context: Context, name: str, after: int) -> list[int]:
    number = VectorModel(name, 0).number(connection)
    if number is None:
        return []
    found = connection.execute(
        "SELECT key FROM items WHERE context_id = ? AND key > ? AND EXISTS"
        " (SELECT 1 FROM vector_parts WHERE item_key = items.key AND model_id = ?) ORDER BY key LIMIT ?",
        (context.id, after, number, _PAGE),
    )
    return [key for (key,) in found]


def _rename(connection: SqlConnection, keys: Sequence[int], name: str, model: VectorModel) -> None:
    found = {key: data for (key, each), data in vectors_of(connection, keys).items() if each == name}
    # Written anew, since a graph says up to which key it has come. What is no whole number of vectors is none of it.
    keep_vectors(
        connection, [(key, model.name, data) for key, data in found.items() if not len(data) % model.bytes_each]
    )
    drop_vectors(connection, keys, name)


async def _fill(
    threads: WorkerThreads, context: Context, model: VectorModel, embedder: TextEmbedder, after: int, seen: Seen | None
) -> int:
    total = await threads.read(_count_lacking, context, model, after) if seen is not None else 0
    count = 0
    while True:
        page = await threads.read(_lacking, context, model, after)
        if not page:
            return count
        after = max(page)
        data = await _embedded([*page.values()], embedder)
        fresh = [(key, model.name, each) for key, each in zip(page, data, strict=True) if each]
        await threads.write(keep_vectors, fresh)
        count += len(fresh)
        if seen is not None:
            seen(count, total, f"the vectors of {context.name}")
        if len(page) < _PAGE:
            return count


# What came with an item and is no whole number of vectors of the model is none of it.
_LACKING = (
    "FROM items WHERE context_id = ? AND key > ? AND coalesce("
    "(SELECT sum(length(data)) % ? FROM vector_parts WHERE item_key = items.key AND model_id = ?), 1) <> 0"
)


def _count_lacking(connection: SqlConnection, context: Context, model: VectorModel, after: int) -> int:
    place = (context.id, after, model.bytes_each, model.number(connection))
    return int(connection.execute(f"SELECT count(*) {_LACKING}", place).fetchone()[0])


def _lacking(connection: SqlConnection, context: Context, model: VectorModel, after: int) -> dict[int, Item]:
    place = (context.id, after, model.bytes_each, model.number(connection), _PAGE)
    found = connection.execute(f"SELECT key {_LACKING} ORDER BY key LIMIT ?", place)
    return read_items(connection, [key for (key,) in found])


async def _embedded(items: Sequence[Item], embedder: TextEmbedder) -> list[bytes]:
    """Return the vectors of items as they are kept, nothing for an item without text."""
    parts = await asyncio.to_thread(lambda: [item_parts(item) for item in items])
    texts = [*chain.from_iterable(parts)]
    size = embedder.batch * embedder.at_once
    vectors = []
    for start in range(0, len(texts), size):
        some = texts[start : start + size]
        batches = [some[at : at + embedder.batch] for at in range(0, len(some), embedder.batch)]
        vectors += await asyncio.gather(*map(embedder.embed, batches))
    rows = np.concatenate(vectors).astype(KEPT_NUMBERS) if vectors else np.empty((0, 1), KEPT_NUMBERS)
    found, at = [], 0
    for own in parts:
        found.append(rows[at : at + len(own)].tobytes())
        at += len(own)
    return found
