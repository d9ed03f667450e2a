"""Connections to SQLite, and what its errors mean.

One process writes at a time: every writing transaction begins as such (`BEGIN IMMEDIATE`), waits for its turn for at
most five seconds and is either whole or not there. After an error of the disk the connection is closed for good: what
it believes of the file may be wrong, and a failed sync is not to be asked for again.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import cast

from nexus_core.contract.errors import (
    NexusError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    UsageError,
)
from nexus_core.store.database.creation import begin, refuse_emptied
from nexus_core.store.database.schema import migrate, refuse_foreign, refuse_older
from nexus_core.store.database.sql import ServerConnection, SqlConnection

BUSY_TIMEOUT_S = 5.0
OLDEST = (3, 37, 0)
"""Older versions of SQLite do not know strict tables."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where a disk, a quota or the size that a file may have is used up."""
_REPAIRED = (3, 51, 3)
"""From here on a write-ahead log is reset rightly: before, two connections could lose committed writes."""
_BACKPORTS = {(3, 44): 6, (3, 50): 7}
"""Branches that have the repair, too, from this release on."""
_JOURNAL_LIMIT = 64 * 2**20
_CACHE_KIB = 32 * 1024
"""Of the database, for who reads: the inner pages of a million items and the keys of a context, which each search
passes through."""
_PROBE = 256 * 2**10
_FARTHEST = 64 * 2**20
"""Bytes by which one transaction may want a file to grow."""


def journal_mode(version: tuple[int, ...]) -> str:
    """Return how a release of SQLite keeps its journal: `wal` where that is safe for several connections.

    Elsewhere it is `truncate` and not `delete`: that a file is gone is durable only once its folder was synced, too,
    and a journal that comes back after a power failure undoes what was acknowledged.
    """
    if version >= _REPAIRED:
        return "wal"
    backport = _BACKPORTS.get((version[0], version[1]))
    return "wal" if backport is not None and version[2] >= backport else "truncate"


def connect(path: Path, *, writes: bool, takes_older: bool = False) -> sqlite3.Connection:
    """Return a connection for one thread at a time; the one that writes makes and migrates the database.

    One that reads raises StoreError where the database is of an older version, unless it `takes_older`.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: Python needs one of 3.37 or newer")
    with translated(path):
        if writes:
            begin(path, lambda new: _opened(new, writes=True).close())
        if path.exists():
            refuse_emptied(path)
        return _opened(path, writes=writes, takes_older=takes_older)


def _opened(path: Path, *, writes: bool, takes_older: bool = False) -> sqlite3.Connection:
    with translated(path):
        # Never made by SQLite, which would make it for everybody to read.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            refuse_foreign(connection, path)  # before anything of it is changed
            _configure(connection, writes=writes)
            if writes:
                _make_private(path)
                migrate(connection, path)
            else:
                connection.execute("PRAGMA query_only = ON")
                if not takes_older:
                    refuse_older(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def is_open(connection: SqlConnection) -> bool:
    """Tell whether a connection can be used still."""
    try:
        return connection.in_transaction or True
    except sqlite3.ProgrammingError:
        return False


def _make_private(path: Path) -> None:
    """Make the file its owner's alone; SQLite gives its journals the same mode."""
    if path.stat().st_mode & 0o077 and os.name == "posix":
        path.chmod(0o600)


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
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB:d}")


@contextmanager
def transaction(connection: SqlConnection, path: Path) -> Iterator[SqlConnection]:
    """Give a connection that may write; what is written is there as a whole at the end, or not at all."""
    if not isinstance(connection, sqlite3.Connection):
        with cast(ServerConnection, connection).transaction():
            yield connection
        return
    with translated(path):
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            if isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_IOERR:
                connection.close()
            elif connection.in_transaction:  # SQLite has undone it already where the disk is full
                connection.execute("ROLLBACK")
            raise


@contextmanager
def snapshot(connection: SqlConnection, path: Path) -> Iterator[SqlConnection]:
    """Give a connection whose reads all see one state of the database.

    Without a write-ahead log nobody can commit meanwhile, so let it be short.
    """
    if not isinstance(connection, sqlite3.Connection):
        with cast(ServerConnection, connection).snapshot():
            yield connection
        return
    with translated(path):
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of SQLite, and of the system below it, as errors of the store."""
    try:
        yield
    except sqlite3.Error as error:
        raise _meaning(error, path) from error
    except UnicodeEncodeError as error:
        raise UsageError(
            f"a text holds half of a surrogate pair at character {error.start + 1}, which no store can keep: replace it"
        ) from error
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        raise storage_error(error, f"the store at {path.parent}") from error


def storage_error(error: OSError, what: str) -> StoreError:
    """Return what the system said of a file as an error of the store."""
    if error.errno in NO_SPACE:
        return StoreFullError(f"no space is left for {what} ({error.strerror}): free some and try again")
    return StoreError(f"{what} cannot be used: {error.strerror or error}")


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _meaning(error: sqlite3.Error, path: Path) -> NexusError:
    match _code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusyError(
                f"{path} is kept by another process for more than {BUSY_TIMEOUT_S:g} s: try again when it is done"
            )
        case sqlite3.SQLITE_FULL:
            return _full(path)
        case sqlite3.SQLITE_IOERR:
            return _full(path) if _cannot_grow(path) else StoreError(_IO.format(path=path, error=error))
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreDamagedError(
                f"{path} is damaged or no store ({error}): put back a backup; what can be read still can be saved with "
                "`Store(path, salvage=True)` and export"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
            return StoreError(f"{path} cannot be opened or written ({error}): check the rights of its folder")
        case sqlite3.SQLITE_TOOBIG:
            return UsageError(f"a text is larger than SQLite takes ({error}): divide it")
    return StoreError(f"the store at {path} failed: {error}")


_IO = (
    "the disk of {path} failed ({error}): this write changed nothing; the next write opens the file anew, and where "
    "the error stays, look at the disk and run `nexus context check`"
)


def _full(path: Path) -> StoreFullError:
    return StoreFullError(f"no space is left for {path}: this write changed nothing; free some and try again")


def _cannot_grow(path: Path) -> bool:
    """Tell whether the file is at a limit: of a quota, or of the size of files, SQLite only says `disk I/O error`."""
    try:
        with TemporaryFile(dir=path.parent) as probe:
            probe.write(bytes(_PROBE))
            probe.seek(path.stat().st_size + _FARTHEST)
            probe.write(b"\0")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error.errno in NO_SPACE
    return False
