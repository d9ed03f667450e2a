"""The beginning of a database: it is there whole or not at all, so an empty file is damage and no new store."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout

from nexus_core.contract.errors import StoreBusyError, StoreDamagedError

_WAIT_S = 10.0
_WHAT_TO_DO = "put back a backup, or move the folder away to begin a new store"


def begin(path: Path, make: Callable[[Path], None]) -> None:
    """Make a database where none is, under a passing name until it is whole; raises StoreDamagedError where one was."""
    if path.exists():
        return
    try:
        with FileLock(path.with_name(f"{path.name}.new.lock"), mode=0o600).acquire(timeout=_WAIT_S):
            if not path.exists():  # else another process was faster
                _make(path, make)
    except Timeout as error:
        raise StoreBusyError(f"another process has been making {path} for {_WAIT_S:g} s: try again") from error


def _make(path: Path, make: Callable[[Path], None]) -> None:
    _refuse_remains(path)
    _remove_passing(path)
    passing = path.with_name(f"{path.name}.new-{token_hex(4)}")
    try:
        os.close(os.open(passing, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        make(passing)
        os.replace(passing, path)
        _sync(path.parent)
    finally:
        _remove_passing(path)


def refuse_emptied(path: Path) -> None:
    """Raise StoreDamagedError for a file that SQLite takes for a new one: it does so up to one byte.

    Every store has its first pages before it is there under its name.
    """
    if (size := path.stat().st_size) <= 1:
        raise StoreDamagedError(f"{path} is damaged: it has {size} bytes, and a store never so few; {_WHAT_TO_DO}")


def _refuse_remains(path: Path) -> None:
    """Raise StoreDamagedError where files beside it tell that there was a database."""
    journals = [path.with_name(path.name + ending) for ending in ("-wal", "-journal")]
    remains = [journal for journal in journals if journal.exists() and journal.stat().st_size]
    for folder in (path.parent / "objects", path.parent / "index"):
        with suppress(OSError):
            remains += [folder] if any(folder.iterdir()) else []
    if remains:
        found = remains[0].name
        raise StoreDamagedError(f"{path} is gone, and {found} beside it tells that there was a store: {_WHAT_TO_DO}")


def _remove_passing(path: Path) -> None:
    """Remove what somebody left who was killed while making a database."""
    for left in path.parent.glob(f"{path.name}.new-*"):
        left.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make the name of a file last: a system may keep its bytes and lose that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
