"""Items as rows: writing, reading and removing them. No function here makes a transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from time import time
from typing import Any

from nexus_core.contract.errors import StoreDamagedError
from nexus_core.contract.values import Item
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.fronts import METADATA, front_of, hand_over, keep_front, own_part
from nexus_core.store.items.grants import grant_id, keep_grants
from nexus_core.store.items.passage_codec import give
from nexus_core.store.items.prepare import PreparedItem
from nexus_core.store.items.removals import note_removals
from nexus_core.store.items.vectors import HAS_VECTORS, give_vectors, keep_vectors, other_vectors
from nexus_core.store.records import Added, Context, StoredDocument, links_of
from nexus_core.store.vectors.vector_model import known_model, resolve_names, vector_remarks
from nexus_core.toolkit.text.languages import AUTO, DEFAULT, language_of
from nexus_core.toolkit.text.sentence_figures import figures_key

_ITEM = (
    f"SELECT key, id, title, text, kind, source, {METADATA},"
    " (SELECT readers FROM grants WHERE grants.id = grant_id),"
    " (SELECT json_group_array(tag) FROM tags WHERE tags.item_key = items.key),"
    f" {HAS_VECTORS}, language, encoding, data"
    " FROM items LEFT JOIN figures ON figures.item_key = items.key"
)


def write_items(
    connection: SqlConnection, context: Context, prepared: Sequence[PreparedItem], document_id: int | None = None
) -> tuple[Added, list[tuple[int, PreparedItem]]]:
    """Write items, the last of several with one id; returns what became of them, and (key, item) of the new rows."""
    latest = {each.item.id: each for each in prepared}
    known = _known(connection, context, latest)
    own: dict[str, Mapping[str, bytes]] = {key: each.vectors for key, each in latest.items() if each.vectors}
    remarks: tuple[str, ...] = ()
    if own:
        model = known_model(connection, context)
        remarks = vector_remarks(model, context, own)
        own = resolve_names(model, context, own)
    there = {known[key][0]: vectors for key, vectors in own.items() if key in known}
    others = other_vectors(connection, there) if there else ()
    fresh = [
        each
        for each in latest.values()
        if known.get(each.item.id, (0, b""))[1] != each.digest or known[each.item.id][0] in others
    ]
    stale = [known[each.item.id][0] for each in fresh if each.item.id in known]
    remove_keys(connection, context, stale)
    first = next_keys(connection, len(fresh))
    rows = list(enumerate(fresh, first))
    _insert(connection, context, document_id, rows)
    if own:
        keep_vectors(
            connection,
            [(key, model, data) for key, each in rows for model, data in own.get(each.item.id, {}).items()],
        )
    if rows:
        connection.execute(
            "UPDATE contexts SET items = items + ?, newest = ?, changed = ? WHERE id = ?",
            (len(rows), rows[-1][0], time(), context.id),
        )
    if document_id is not None:
        gone = set(stale)
        same = [known[key][0] for key in latest if key in known and known[key][0] not in gone]
        hand_over(connection, same, document_id)
    added = Added(new=len(rows) - len(stale), changed=len(stale), unchanged=len(latest) - len(rows), remarks=remarks)
    return added, rows


def _insert(
    connection: SqlConnection, context: Context, document_id: int | None, rows: Sequence[tuple[int, PreparedItem]]
) -> None:
    front = front_of([(each.item.metadata, each.metadata) for _, each in rows]) if document_id is not None else ""
    number = keep_front(connection, document_id, front) if document_id is not None and front else None
    granted = keep_grants(connection, context, {each.item.readers for _, each in rows})
    connection.executemany(
        "INSERT INTO items (key, context_id, document_id, id, title, text, kind, source, language, front, metadata,"
        " digest, grant_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (key, context.id, document_id, *_texts(each), number, own_part(each.metadata, front) if front else
             each.metadata, each.digest, granted[each.item.readers])
            for key, each in rows
        ),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO tags (item_key, tag) VALUES (?, ?)",
        ((key, tag) for key, each in rows for tag in dict.fromkeys(each.item.tags)),
    )
    connection.executemany(
        "INSERT INTO links (item_key, target) VALUES (?, ?)",
        ((key, target) for key, each in rows for target in links_of(each.item)),
    )
    connection.executemany(
        "INSERT INTO figures (item_key, encoding, data) VALUES (?, ?, ?)",
        ((key, context.encoding, each.figures) for key, each in rows),
    )
    keep_languages(connection, context, {each.language for _, each in rows})


def keep_languages(connection: SqlConnection, context: Context, languages: Iterable[str]) -> None:
    """Note in which languages a context has items: its queries are looked for in each of them."""
    connection.executemany(
        "INSERT INTO context_languages (context_id, language) VALUES (?, ?) ON CONFLICT DO NOTHING",
        ((context.id, language) for language in languages),
    )


def stored_language(item: Item, context: Context) -> str:
    """Return the language of an item that was read from a context: that of its stems."""
    figures = item.features.get(figures_key(context.encoding))
    if context.language != AUTO:
        return context.language
    return figures.language if figures is not None else language_of(item)


def _known(connection: SqlConnection, context: Context, ids: Iterable[str]) -> dict[str, tuple[int, bytes]]:
    asked = set(ids)
    found = connection.execute(
        "SELECT id, key, digest FROM items WHERE context_id = ? AND id IN (SELECT value FROM json_each(?) AS texts)",
        (context.id, json.dumps(list(asked))),
    )
    # SQLite ends a text of JSON at its first NUL, and would find what nobody has asked for.
    return {name: (key, digest) for name, key, digest in found if name in asked}


def next_keys(connection: SqlConnection, count: int) -> int:
    """Return the first of so many keys that were never used."""
    [(following,)] = connection.execute(
        "INSERT INTO settings (name, value) VALUES ('next_key', ?) ON CONFLICT (name) DO UPDATE"
        " SET value = CAST(CAST(settings.value AS BIGINT) + ? AS TEXT) RETURNING value",
        (str(1 + count), count),
    ).fetchall()
    return int(following) - count


def _texts(each: PreparedItem) -> tuple[str, ...]:
    item = each.item
    return item.id, item.title, item.text, item.kind, item.source, each.language


def keep_figures(connection: SqlConnection, context: Context, figures: Iterable[tuple[int, bytes]]) -> None:
    """Keep figures of items in place of those that they have, by their keys."""
    connection.executemany(
        "INSERT INTO figures (item_key, encoding, data) VALUES (?, ?, ?) ON CONFLICT (item_key) DO UPDATE"
        " SET encoding = excluded.encoding, data = excluded.data",
        ((key, context.encoding, data) for key, data in figures),
    )


def remove_keys(connection: SqlConnection, context: Context, keys: Sequence[int]) -> int:
    """Remove items, and note for the index that they are gone; returns how many there were."""
    if not keys:
        return 0
    told = json.dumps(list(keys))
    gone = connection.execute(
        "DELETE FROM items WHERE context_id = ? AND key IN (SELECT value FROM json_each(?) AS numbers)",
        (context.id, told),
    ).rowcount
    note_removals(connection, context, keys)
    connection.execute("UPDATE contexts SET items = items - ?, changed = ? WHERE id = ?", (gone, time(), context.id))
    return gone


def keys_of(connection: SqlConnection, context: Context, ids: Iterable[str]) -> dict[str, int]:
    """Return the key of each item that is there, by its id."""
    return {name: key for name, (key, _) in _known(connection, context, ids).items()}


def find_keys(connection: SqlConnection, context: Context, ids: Sequence[str]) -> dict[str, int | None]:
    """Return for each id the key of its item, `None` where there is none: from an index alone, a row for each id.

    So nothing of an item is read, and no more for one that is there than for one that is not.
    """
    told = json.dumps(ids)
    found = connection.execute(
        "SELECT (SELECT key FROM items WHERE context_id = ? AND id = value) FROM json_each(?) AS texts"
        " ORDER BY texts.key",
        (context.id, told),
    )
    # SQLite ends a text of JSON at its first NUL, and would find what nobody has asked for.
    return {name: None if "\0" in name else key for name, (key,) in zip(ids, found, strict=True)}


def read_items(connection: SqlConnection, keys: Sequence[int]) -> dict[int, Item]:
    """Return the items with these keys, as many as there are, with their tags and kept figures."""
    found, with_vectors = {}, {}
    rows = connection.execute(
        f"{_ITEM} WHERE key IN (SELECT value FROM json_each(?) AS numbers)", (json.dumps(list(keys)),)
    )
    for *row, has_vectors, language, encoding, data in rows:
        key = row[0]
        found[key] = _item(row)
        if data is not None:
            give(found[key], encoding, data, language or DEFAULT)
        if has_vectors:
            with_vectors[key] = found[key]
    if with_vectors:
        give_vectors(connection, with_vectors)
    return found


def _item(row: Sequence[Any]) -> Item:
    _, name, title, text, kind, source, metadata, granted, tags = row
    try:
        told = json.loads(metadata) if metadata != "{}" else {}
    except ValueError as error:
        raise StoreDamagedError(
            f"the metadata of item {name!r} is damaged ({error}): remove the item and add it again"
        ) from error
    readers = tuple(json.loads(granted)) if granted else ()
    return Item(
        id=name, title=title, text=text, kind=kind, source=source, tags=tuple(sorted(json.loads(tags))), metadata=told,
        readers=readers,
    )  # fmt: skip


def page_of_keys(
    connection: SqlConnection, context: Context, *, after: int = 0, limit: int = 100, tag: str | None = None
) -> list[int]:
    """Return the keys of the next items after one, in the order in which they were added."""
    if tag is None:
        found = connection.execute(
            "SELECT key FROM items WHERE context_id = ? AND key > ? ORDER BY key LIMIT ?", (context.id, after, limit)
        )
    else:
        found = connection.execute(
            "SELECT key FROM items JOIN tags ON item_key = key"
            " WHERE context_id = ? AND key > ? AND tag = ? ORDER BY key LIMIT ?",
            (context.id, after, tag, limit),
        )
    return [key for (key,) in found]


# Documents


def write_document(connection: SqlConnection, context: Context, document: StoredDocument) -> int:
    """Write a document, or its new state, and return its number."""
    connection.execute(
        "INSERT INTO documents (context_id, name, origin, stamp, digest, size, original, skipped, reader, added,"
        " problems, remarks, grant_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (context_id, name) DO UPDATE"
        " SET origin = excluded.origin,"
        " stamp = excluded.stamp, digest = excluded.digest, size = excluded.size, original = excluded.original,"
        " skipped = excluded.skipped, reader = excluded.reader, added = excluded.added,"
        " problems = excluded.problems, remarks = excluded.remarks, grant_id = excluded.grant_id",
        (
            context.id, document.name, document.origin, document.stamp, document.digest, document.size,
            document.original, document.skipped, document.reader, time(),
            json.dumps(document.problems), json.dumps(document.remarks), grant_id(connection, document.readers),
        ),
    )  # fmt: skip
    (number,) = connection.execute(
        "SELECT id FROM documents WHERE context_id = ? AND name = ?", (context.id, document.name)
    ).fetchone()
    return int(number)


def keys_of_document(connection: SqlConnection, document_id: int) -> dict[str, int]:
    """Return the keys of a document's items, by their ids."""
    return dict(connection.execute("SELECT id, key FROM items WHERE document_id = ?", (document_id,)).fetchall())


def remove_document(connection: SqlConnection, context: Context, name: str) -> int:
    """Remove a document with its items; returns how many items that were."""
    found = connection.execute(
        "SELECT id FROM documents WHERE context_id = ? AND name = ?", (context.id, name)
    ).fetchone()
    if found is None:
        return 0
    gone = remove_keys(connection, context, list(keys_of_document(connection, found[0]).values()))
    connection.execute("DELETE FROM documents WHERE id = ?", found)
    return gone
