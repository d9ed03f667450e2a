"""The types of the lazily imported names; tests/test_public_api.py holds it against `__init__.py`."""

from nexus_core.store.database.migrations import MIGRATIONS as MIGRATIONS
from nexus_core.store.database.paths import StorePaths as StorePaths
from nexus_core.store.database.server_paths import (
    ServerPaths as ServerPaths,
    hidden as hidden,
    open_copies as open_copies,
    secrets_of as secrets_of,
    without_password as without_password,
)
from nexus_core.store.database.sql import (
    DEFER_FOREIGN_KEYS as DEFER_FOREIGN_KEYS,
    Cursor as Cursor,
    LostTransactionError as LostTransactionError,
    ServerConnection as ServerConnection,
    SqlConnection as SqlConnection,
    WriteConflictError as WriteConflictError,
)

__all__: list[str]
