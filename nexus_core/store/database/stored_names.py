"""Names that a store on this machine has, read from its database without opening the store: for completion in shells.

Nothing is written, made or migrated, and no store of a server is asked. It imports little, since a shell waits for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import time

MOST = 1_000
"""Names that are read."""
_WAIT_S = 0.05
"""Seconds that a database may be in use by others."""
_CONTEXTS = "SELECT name, description FROM contexts WHERE substr(name, 1, ?) = ? ORDER BY name LIMIT ?"
_CONVERSATIONS = """
    SELECT id, coalesce(title, (SELECT query FROM turns WHERE conversation_key = conversations.key AND number = 1), '')
    FROM conversations WHERE substr(id, 1, ?) = ? AND owner = ? AND (expires IS NULL OR expires > ?)
    ORDER BY changed DESC LIMIT ?
"""


def context_names(folder: Path, begin: str) -> list[tuple[str, str]]:
    """Return the contexts whose names begin so, by name, each with its description; raises sqlite3.Error."""
    return _read(folder, _CONTEXTS, (len(begin), begin, MOST))


def conversation_ids(folder: Path, begin: str, owner: str = "") -> list[tuple[str, str]]:
    """Return an owner's conversations whose ids begin so, the newest first, with their titles; raises sqlite3.Error."""
    return _read(folder, _CONVERSATIONS, (len(begin), begin, owner, time(), MOST))


def _read(folder: Path, query: str, values: Sequence[str | float]) -> list[tuple[str, str]]:
    uri = f"{(folder.absolute() / 'store.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_S)) as connection:
        return [(str(name), str(about)) for name, about in connection.execute(query, values)]
