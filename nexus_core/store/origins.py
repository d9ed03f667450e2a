"""Origins as rows: what a context was made from, so that it can be read again. Every function makes no transaction.

The settings of an origin are whatever who added it needs to find it again; no secret is among them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import time
from typing import Any

from attrs import field, frozen

from nexus_core.contract.values import Value
from nexus_core.store import contexts
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import check_text

_LONGEST_SETTINGS = 2**16


@frozen(kw_only=True, eq=False, repr=False)
class StoredOrigin(Value):
    """What documents were added as part of, such as a folder."""

    origin: str
    settings: Mapping[str, Any] = field(factory=dict)
    """How it was added; empty where that is not known."""
    read: float = 0.0
    """When it was last read, in seconds since the epoch; 0.0 where that is not known."""


def keep(connection: SqlConnection, name: str, origin: str, settings: Mapping[str, Any]) -> None:
    """Keep how an origin is read, and that it has been read now."""
    text = json.dumps(dict(settings), ensure_ascii=False, sort_keys=True)
    check_text(text, f"the settings of {origin[:80]}", _LONGEST_SETTINGS)
    connection.execute(
        "INSERT INTO origins (context_id, origin, settings, read) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (context_id, origin) DO UPDATE SET settings = excluded.settings, read = excluded.read",
        (contexts.find(connection, name).id, origin, text, time()),
    )


def readers_of(connection: SqlConnection, name: str, origin: str) -> tuple[str, ...]:
    """Return who alone may see what was added as part of an origin; none where nothing of it is left."""
    context = contexts.find(connection, name)
    found = connection.execute(
        "SELECT settings FROM origins WHERE context_id = ? AND origin = ? AND EXISTS"
        " (SELECT 1 FROM documents WHERE documents.context_id = origins.context_id"
        " AND documents.origin = origins.origin)",
        (context.id, origin),
    ).fetchone()
    return tuple(json.loads(found[0]).get("granted", ())) if found is not None else ()


def read_all(connection: SqlConnection, name: str) -> tuple[StoredOrigin, ...]:
    """Return the origins of all documents of a context, by name; one of which nothing is left is forgotten."""
    context = contexts.find(connection, name)
    rows = connection.execute(
        "SELECT found.origin, coalesce(settings, '{}'), coalesce(read, 0.0)"
        " FROM (SELECT DISTINCT context_id, origin FROM documents WHERE context_id = ?) AS found"
        " LEFT JOIN origins ON origins.context_id = found.context_id AND origins.origin = found.origin"
        " ORDER BY found.origin",
        (context.id,),
    )
    return tuple(StoredOrigin(origin=origin, settings=json.loads(text), read=read) for origin, text, read in rows)
