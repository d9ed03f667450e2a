"""How a store of an older version becomes one of this version, and what a database must have to be one."""

from __future__ import annotations

import sqlite3

from nexus_core.contract.errors import StoreDamagedError, StoreError
from nexus_core.store.database.migrations import MIGRATIONS
from nexus_core.store.database.sql import SqlConnection

APPLICATION_ID = 0x4E585553
"""`NXUS`, in the header of the file."""

OLDER = (
    "{path} was made by an older version (schema {version}, this one needs {needed}), and may only be read here: run "
    "`nexus context check --repair` as who owns the store"
)
"""What is said of a store that cannot be brought to this version."""

_STATE = (
    "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id),"
    " (SELECT count(*) FROM sqlite_schema)"
)
"""In one statement, since another process may be making the database."""


def migrate(connection: sqlite3.Connection, path: object) -> None:
    """Bring an open database to this version, in one transaction; raises StoreDamagedError for what is no store."""
    if refuse_foreign(connection, path) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = refuse_foreign(connection, path)  # another process may have been faster
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS):d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has undone it already where the disk is full
            connection.execute("ROLLBACK")
        raise


def refuse_foreign(connection: sqlite3.Connection, path: object) -> int:
    """Return the version of a database, 0 of an empty one; raises StoreDamagedError for what is no store of ours."""
    version, application, tables = connection.execute(_STATE).fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreDamagedError(f"{path} is a database of something else: give the store a folder of its own")
    if version > len(MIGRATIONS):
        raise StoreDamagedError(
            f"{path} was written by a newer version (schema {version}, this one knows {len(MIGRATIONS)}): "
            "upgrade contextnexus"
        )
    return int(version)


def refuse_older(connection: sqlite3.Connection, path: object) -> None:
    """Raise StoreError, naming the command to run, for a database that was not brought to this version."""
    version = refuse_foreign(connection, path)
    if 0 < version < len(MIGRATIONS):
        raise StoreError(OLDER.format(path=path, version=version, needed=len(MIGRATIONS)))


def expected() -> dict[str, str]:
    """Return the statement that makes each table and index of this version, by its name."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for statements in MIGRATIONS:
            for statement in statements:
                connection.execute(statement)
        return read_statements(connection)
    finally:
        connection.close()


def read_statements(connection: SqlConnection) -> dict[str, str]:
    """Return the statement that made each table, index, trigger and view of a database, by its name."""
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall())
