"""Contexts and what belongs to them at rest: SQLite for the truth, an index derived from it, originals beside.

The names here are public, for authors of a store of another kind: `docs/how-to/write-a-store.md`. They are imported at
first use; what a user of stores needs is `nexus_core.Store`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "database.paths": ("StorePaths",),
    "database.schema": ("MIGRATIONS",),
    "database.server_paths": ("ServerPaths", "hidden", "open_copies", "secrets_of", "without_password"),
    "database.sql": (
        "DEFER_FOREIGN_KEYS", "Cursor", "LostTransactionError", "ServerConnection", "SqlConnection",
        "WriteConflictError",
    ),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'nexus_core.store' has no attribute {name!r}")
    value = getattr(import_module(f"nexus_core.store.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
