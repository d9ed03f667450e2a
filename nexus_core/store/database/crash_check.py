"""Tells whether all who had a store open have closed it, and looks for damage where one has not.

Who opens a store leaves a locked file in its folder and deletes it at the end. The system lets go of the lock of
whoever dies, so a file that nobody locks tells of an end that was none.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout

from nexus_core.contract.errors import StoreDamagedError
from nexus_core.store.database.connection import translated
from nexus_core.store.database.paths import StorePaths

LARGEST_CHECKED = 128 * 2**20
"""Bytes of a database that is checked when it is opened; a larger one would keep people waiting for over a second."""
_MARK = "open-"

_log = logging.getLogger(__name__)


class OpenMarker:
    """The file that is there while a store is open; used by one thread."""

    def __init__(self, folder: StorePaths) -> None:
        self._path = folder.lock(f"{_MARK}{token_hex(8)}")
        self._lock = FileLock(self._path, mode=0o600)
        with translated(folder.database):
            self._lock.acquire(timeout=5.0)

    def remove(self) -> None:
        """Say that the end was one."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def left_behind(folder: StorePaths) -> list[Path]:
    """Return the marks of those who have died."""
    found = []
    for path in folder.root.glob(f"{_MARK}*.lock"):
        lock = FileLock(path, mode=0o600)
        try:
            lock.acquire(timeout=0.0)
        except (Timeout, OSError):  # it is alive, or has gone just now
            continue
        lock.release()
        found.append(path)
    return found


def check_after_crash(folder: StorePaths, connection: sqlite3.Connection) -> None:
    """Look for damage where somebody has died with the store open; raises StoreDamagedError."""
    marks = left_behind(folder)
    if not marks:
        return
    if folder.database.stat().st_size > LARGEST_CHECKED:
        _log.warning(
            "the store at %s was not closed when it was last used, and is too large to be checked now: "
            "run `nexus context check`",
            folder.root,
        )
    else:
        _log.info("the store at %s was not closed when it was last used: it is checked", folder.root)
        with translated(folder.database):
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise damage(folder, said)
    for mark in marks:
        mark.unlink(missing_ok=True)


def damage(folder: StorePaths, said: str) -> StoreDamagedError:
    """Return the error for a database of which a check has said something."""
    return StoreDamagedError(
        f"{folder.database} is damaged ({said}): put back a backup; what can be read still can be saved "
        "with `Store(path, salvage=True)` and export"
    )
