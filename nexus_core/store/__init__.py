"""Contexts and what belongs to them at rest: SQLite for the truth, an index derived from it, originals beside.

The names here are public, for authors of a store of another kind: `docs/how-to/write-a-store.md`. They are imported at
first use; what a user of stores needs is `nexus_core.Store`.
"""

from __future__ import annotations

from nexus_core.toolkit.lazy_module import lazy_names

_HOME = {
    "database.paths": ("StorePaths",),
    "database.migrations": ("MIGRATIONS",),
    "database.server_paths": ("ServerPaths", "hidden", "open_copies", "secrets_of", "without_password"),
    "database.sql": (
        "DEFER_FOREIGN_KEYS", "Cursor", "LostTransactionError", "ServerConnection", "SqlConnection",
        "WriteConflictError",
    ),
}  # fmt: skip

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
