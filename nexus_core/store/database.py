"""Connections to SQLite, and what its errors mean.

One process writes at a time: every writing transaction begins as such (`BEGIN IMMEDIATE`), waits for its turn for at
most five seconds and is either whole or not there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nexus_core.contract.errors import StoreBusyError, StoreDamagedError, StoreError, StoreFullError
from nexus_core.store.schema import migrate

BUSY_TIMEOUT_S = 5.0
OLDEST = (3, 37, 0)
"""Older versions of SQLite do not know strict tables."""
_REPAIRED = ((3, 51, 3),)
"""From here on a write-ahead log is reset rightly: before, two connections could lose committed writes."""
_BACKPORTS = {(3, 44): 6, (3, 50): 7}
"""Branches that have the repair, too, from this release on."""
_JOURNAL_LIMIT = 64 * 2**20


def journal_mode(version: tuple[int, ...]) -> str:
    """Return how a release of SQLite keeps its journal: `wal` where that is safe for several connections."""
    if version >= _REPAIRED[0]:
        return "wal"
    backport = _BACKPORTS.get((version[0], version[1]))
    return "wal" if backport is not None and version[2] >= backport else "delete"


def connect(path: Path, *, writes: bool) -> sqlite3.Connection:
    """Return a connection for one thread at a time; the one that writes makes and migrates the database."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: Python needs one of 3.37 or newer")
    with translated(path):
        if writes:
            _make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            _configure(connection, writes=writes)
            if writes:
                migrate(connection, path)
            else:
                connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def _make_private(path: Path) -> None:
    """Make the file, for its owner alone; SQLite gives its journals the same mode."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077 and hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _configure(connection: sqlite3.Connection, *, writes: bool) -> None:
    mode = journal_mode(sqlite3.sqlite_version_info)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA synchronous = FULL")
    if writes:
        (known,) = connection.execute("PRAGMA journal_mode").fetchone()
        if known != mode:
            connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT:d}")
    else:
        connection.execute("PRAGMA wal_autocheckpoint = 0")


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that may write; what is written is there as a whole at the end, or not at all."""
    with translated(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite has undone it already where the disk is full
                connection.execute("ROLLBACK")
            raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of SQLite, and of the system below it, as errors of the store."""
    try:
        yield
    except sqlite3.Error as error:
        raise _meaning(error, path) from error
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        full = error.errno in (28, 122, 27)  # no space, quota, file size
        kind = StoreFullError if full else StoreError
        raise kind(f"the store at {path.parent} cannot be used: {error.strerror or error}") from error


def _meaning(error: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusyError(
                f"{path} is kept by another process for more than {BUSY_TIMEOUT_S:g} s: try again when it is done"
            )
        case sqlite3.SQLITE_FULL:
            return StoreFullError(f"no space is left for {path}: nothing was changed; free some and try again")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreDamagedError(
                f"{path} is damaged or no store ({error}): put back a copy, or export what can still be read"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
            return StoreError(f"{path} cannot be opened or written ({error}): check the rights of its folder")
    return StoreError(f"the store at {path} failed: {error}")
