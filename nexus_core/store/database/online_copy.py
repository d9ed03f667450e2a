"""Copies of a database that is in use: made a few pages at a time, so that nobody who writes waits for long."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nexus_core.contract.errors import StoreBusyError
from nexus_core.store.database.connection import connect

_PAGES = 2_000
"""Copied at a time, in some milliseconds; with a rollback journal nobody can commit meanwhile."""
_PATIENCE = 3
"""So often it is begun anew because another connection has written; then it is made at a stretch, from warm files."""
_SETTINGS = ("journal_mode = OFF", "trusted_schema = OFF", "cell_size_check = ON")

_log = logging.getLogger(__name__)


class _AnewError(Exception):
    """Another connection has written too often."""


def copy(source: sqlite3.Connection, target: sqlite3.Connection, pages: int = _PAGES) -> None:
    """Copy one state of a whole database, page by page, without a look at what is in them."""
    left, again = 2**63, 0

    def watch(status: int, remaining: int, _: int) -> None:
        nonlocal left, again
        if status == sqlite3.SQLITE_BUSY:  # after as long a wait as that of every other statement
            raise StoreBusyError("the store is being written for too long to be copied: try again when that is done")
        if remaining >= left:
            again += 1
        if again > _PATIENCE:
            raise _AnewError
        left = remaining

    try:
        source.backup(target, pages=pages, progress=watch)
    except _AnewError:
        again = -(2**63)
        source.backup(target, pages=-1, progress=watch)


@contextmanager
def steady(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection for long readings of one state of a database, while others write.

    With a write-ahead log it is the database itself, else a copy among the system's passing files, if there is room.
    """
    with closing(connect(path, writes=False)) as connection, closing(_passing()) as copied:
        if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            yield connection
            return
        try:
            copy(connection, copied)
        except sqlite3.Error as error:  # of the copy, or of what will be seen in the database itself
            _log.warning(
                "%s cannot be copied (%s): it is looked at itself, and who writes waits meanwhile", path, error
            )
            copied = connection
        yield copied


def _passing() -> sqlite3.Connection:
    """Return a database that is nowhere but in passing files."""
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}")
    return connection
