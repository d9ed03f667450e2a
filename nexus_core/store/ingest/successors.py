"""Successors: where another reader makes other items of a document, what belonged to the old ones goes to the new ones.

An item takes the place of the one with its id, else of the one with its headings, where each is the only one. It is
given the tags that the old one had, since who has given them is not known; links to the old id lead to the new one, and
who asks for the old id, such as for a source that was cited, gets the new item.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from nexus_core.contract.values import Item
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.fronts import METADATA
from nexus_core.store.items.prepare import PreparedItem
from nexus_core.store.items.rows import find_keys, keys_of, read_items
from nexus_core.store.records import Context, digest_of
from nexus_core.store.search.visibility import VisibleKeys

_OLD = (
    f"SELECT id, title, {METADATA}, (SELECT json_group_array(tag) FROM tags WHERE item_key = key)"
    " FROM items WHERE document_id = ?"
)


@frozen
class Succession:
    """The items of a document that was read by another reader, and which id is called by which now."""

    prepared: Sequence[PreparedItem]
    moved: Mapping[str, str]


def was_read_otherwise(connection: SqlConnection, context: Context, name: str, reader: str) -> bool:
    """Tell whether a document is there whose items another reader has made."""
    found = connection.execute(
        "SELECT reader FROM documents WHERE context_id = ? AND name = ? AND skipped = ''", (context.id, name)
    ).fetchone()
    return found is not None and found[0] != reader


def successors(connection: SqlConnection, document_id: int, prepared: Sequence[PreparedItem]) -> Succession:
    """Return the new items of a document with the tags of those whose places they take."""
    old = connection.execute(_OLD, (document_id,)).fetchall()
    tags = {name: json.loads(told) for name, _, _, told in old}
    places = _only([(_place(title, json.loads(metadata)), name) for name, title, metadata, _ in old])
    ours = _only([(_place(each.item.title, each.item.metadata), each.item.id) for each in prepared])
    ids = {each.item.id for each in prepared}
    moved = {
        places[place]: name
        for place, name in ours.items()
        if place in places and name not in tags and places[place] not in ids
    }
    before = {name: name for name in ids if name in tags} | {name: gone for gone, name in moved.items()}
    return Succession([_tagged(each, tags.get(before.get(each.item.id, ""), ())) for each in prepared], moved)


def note_moved(connection: SqlConnection, context: Context, moved: Mapping[str, str]) -> None:
    """Keep which id is called by which now; who was moved before is found by the first id, too."""
    for old, new in moved.items():
        connection.execute("UPDATE aliases SET target = ? WHERE context_id = ? AND target = ?", (new, context.id, old))
        connection.execute(
            "INSERT INTO aliases (context_id, id, target) VALUES (?, ?, ?)"
            " ON CONFLICT (context_id, id) DO UPDATE SET target = excluded.target",
            (context.id, old, new),
        )


def find_visible(
    connection: SqlConnection, context: Context, ids: Sequence[str], visible: VisibleKeys | None
) -> dict[str, int]:
    """Return the keys of those of some items, by their ids now or before, that are visible; reads no row of others."""
    keys = find_keys(connection, context, ids)
    targets = _targets(connection, context, ids)
    moved = find_keys(connection, context, [targets[each] or each for each in ids])
    every = [*dict.fromkeys(key for key in (*keys.values(), *moved.values()) if key is not None)]
    seen = {*(every if visible is None else visible.only(every))}
    found: dict[str, int] = {}
    for name in ids:
        for key in (keys[name], moved[targets[name] or name]):
            if key in seen and key is not None:
                found.setdefault(name, key)
    return found


def find_items(connection: SqlConnection, context: Context, ids: Sequence[str]) -> tuple[Item, ...]:
    """Return the items with these ids, now or before, as many as there are, in the order of the ids."""
    keys = keys_of(connection, context, ids)
    gone = [each for each in ids if each not in keys]
    if gone:
        moved = _aliases(connection, context, gone)
        there = keys_of(connection, context, moved.values())
        keys |= {old: there[new] for old, new in moved.items() if new in there}
    items = read_items(connection, list(keys.values()))
    return tuple(items[keys[each]] for each in ids if each in keys)


def _targets(connection: SqlConnection, context: Context, ids: Sequence[str]) -> dict[str, str | None]:
    """Return by which id each item is called now that has been moved; a row for each id."""
    found = connection.execute(
        "SELECT (SELECT target FROM aliases WHERE context_id = ? AND id = value) FROM json_each(?) AS texts"
        " ORDER BY texts.key",
        (context.id, json.dumps(ids)),
    )
    return {name: target for name, (target,) in zip(ids, found, strict=True)}


def _aliases(connection: SqlConnection, context: Context, ids: Sequence[str]) -> dict[str, str]:
    """Return by which id items are called now, for those of some ids that have been moved."""
    found = connection.execute(
        "SELECT id, target FROM aliases WHERE context_id = ? AND id IN (SELECT value FROM json_each(?) AS texts)",
        (context.id, json.dumps(list(ids))),
    )
    return dict(found.fetchall())


def _place(title: str, metadata: Mapping[str, Any]) -> str:
    """Return where in its document an item stands: below which headings."""
    headings = metadata.get("headings")
    return json.dumps(headings) if isinstance(headings, list | tuple) and headings else title


def _only(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return those whose place is no other's."""
    often = Counter(place for place, _ in pairs)
    return {place: name for place, name in pairs if often[place] == 1}


def _tagged(each: PreparedItem, tags: Sequence[str]) -> PreparedItem:
    more = tuple(dict.fromkeys((*each.item.tags, *tags)))
    if len(more) == len(each.item.tags):
        return each
    item = evolve(each.item, tags=more)
    return evolve(each, item=item, digest=digest_of(item, each.metadata))
