"""Models by what the database knows of them: enough to look at the vectors of a context without loading its model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import Context
from nexus_core.toolkit.embedding.registry import embedder_names
from nexus_core.toolkit.suggest import counted, did_you_mean


@frozen
class VectorModel:
    """What has made the vectors of a context."""

    name: str
    """As the items' vectors are kept under."""
    width: int

    @property
    def bytes_each(self) -> int:
        """How many bytes a vector has as it is kept: a half for each number."""
        return 2 * self.width

    def number(self, connection: SqlConnection) -> int | None:
        """Return its number in the database, `None` where there are no vectors of it."""
        found = connection.execute("SELECT id FROM vector_models WHERE name = ?", (self.name,)).fetchone()
        return None if found is None else int(found[0])


@frozen
class EmbeddedModel:
    """A model with its number in the database."""

    model: VectorModel
    number: int


def keep_model(connection: SqlConnection, context: Context, model: VectorModel) -> None:
    """Note whose vectors a context has, and how long they are; in the transaction that lets searches use them."""
    connection.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_name(context), json.dumps({"model": model.name, "width": model.width})),
    )


def forget_model(connection: SqlConnection, context: Context) -> None:
    """Forget it, where the vectors go or the context does."""
    connection.execute("DELETE FROM settings WHERE name = ?", (_name(context),))


def chosen_model(connection: SqlConnection, context: Context) -> VectorModel | None:
    """Return whose vectors the items of a context should have; `None` where no model is known."""
    found = connection.execute("SELECT value FROM settings WHERE name = ?", (_name(context),)).fetchone()
    if found is None or not context.embedder:
        return None
    told = json.loads(found[0])
    return VectorModel(str(told["model"]), int(told["width"]))


def known_model(connection: SqlConnection, context: Context) -> EmbeddedModel | None:
    """Return whose vectors a context has; `None` where it has none, or another version has made them."""
    model = chosen_model(connection, context)
    number = None if model is None else model.number(connection)
    return None if model is None or number is None else EmbeddedModel(model, number)


@frozen(kw_only=True)
class VectorState:
    """How far a context can be searched by meaning."""

    dimensions: int
    """Numbers of a vector; 0 where that is not known."""
    items: int
    """Those that have been given their vectors; what has no text needs none."""
    total: int
    """All items of the context."""


def vector_state(connection: SqlConnection, context: Context) -> VectorState | None:
    """Return how many items of a context have vectors of its model, `None` where it is searched by words alone.

    Only the items that came after the last pass are counted: some have brought their vectors along, such as those
    whose tags were changed, or were given them by that pass while they came.
    """
    if not context.embedder:
        return None
    known = known_model(connection, context)
    total, lacking = connection.execute(
        "SELECT items, (SELECT count(*) FROM items WHERE context_id = contexts.id AND items.key > embedded AND NOT"
        " EXISTS (SELECT 1 FROM vector_parts WHERE item_key = items.key AND model_id = ?)) FROM contexts WHERE id = ?",
        (known.number if known is not None else -1, context.id),
    ).fetchone()
    width = known.model.width if known is not None else 0
    return VectorState(dimensions=width, items=int(total) - int(lacking), total=int(total))


def vector_problem(known: EmbeddedModel | None, context: Context, vectors: Mapping[str, bytes]) -> str:
    """Return why an item's own vectors, by the name of the context's model, can be none of it; empty where they can."""
    named = vectors.get(context.embedder)
    if known is None or named is None or not len(named) % known.model.bytes_each:
        return ""
    width = known.model.width
    return (
        f"its vectors of {context.embedder!r} are {counted(len(named) // 2, 'number')}: one has {width:,}, so"
        " give as many for each part of its text"
    )


def resolve_names(
    known: EmbeddedModel | None, context: Context, own: Mapping[str, Mapping[str, bytes]]
) -> dict[str, Mapping[str, bytes]]:
    """Return own vectors of items under the name that the store has for a model, where the context's is named.

    Raises UsageError where they can be none of it.
    """
    if known is None:
        return dict(own)
    for id, vectors in own.items():
        if problem := vector_problem(known, context, vectors):
            raise UsageError(f"item {ascii(id)[:80]}: {problem}")
    kept = {context.embedder: known.model.name}
    return {id: {kept.get(name, name): data for name, data in vectors.items()} for id, vectors in own.items()}


def vector_remarks(
    known: EmbeddedModel | None, context: Context, own: Mapping[str, Mapping[str, bytes]]
) -> tuple[str, ...]:
    """Return what is to be said of own vectors that are kept, and that the context's model is not compared with."""
    used = {context.embedder, known.model.name if known is not None else ""}
    others = Counter(name for vectors in own.values() for name in vectors if name not in used)
    remarks = []
    for name, count in sorted(others.items()):
        hint = did_you_mean(name, [context.embedder] if context.embedder else embedder_names())
        there = f"vectors of {name!r} for {counted(count, 'item')}"
        if context.embedder:
            model = f"the model of {context.name!r} is {context.embedder!r}"
            remarks.append(f"{there} are kept and not used, since {model}{hint}")
        elif hint and name not in embedder_names():
            remarks.append(f"{there} are not used until {context.name!r} is embedded with that model{hint}")
    return tuple(remarks)


def _name(context: Context) -> str:
    return f"vectors of context {context.id}"
