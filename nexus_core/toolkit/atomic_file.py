"""A file that takes the place of another once it is written as a whole, and leaves nothing behind when it is not.

Until then it is a hidden file beside the target. Who writes it holds a lock on it, which the system lets go of when the
process dies: so the next one that writes the same target knows what is left of the dead, and deletes it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl


@contextmanager
def whole_file(path: Path, *, begins: bytes, sweeps: bool = True) -> Iterator[BinaryIO]:
    """Give a file that replaces `path` at the end; what others that died have left of it, by how it begins, goes.

    Only its owner may read it. Without `sweeps` what is left stays: for who writes many files and sweeps once.
    """
    prefix = f".{path.name[:100]}-"
    if sweeps:
        sweep(path.parent, re.escape(prefix), begins)
    with _create_locked(path.parent, prefix) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise


def _create_locked(folder: Path, prefix: str) -> BinaryIO:
    """Return a new file that is locked; another process may take it for one that was left before it is."""
    while True:
        file = NamedTemporaryFile(dir=folder, prefix=prefix, delete=False)  # noqa: SIM115 - the caller closes it
        _lock(file.fileno())
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(file.name), os.fstat(file.fileno())):
                return file  # type: ignore[return-value]
        file.close()


def sweep(folder: Path, prefix: str, begins: bytes) -> None:
    """Delete files of ours that nobody writes any more; where the system cannot tell, they stay.

    `prefix` is a pattern: a dot, the name of what was to be written, and a hyphen.
    """
    named = re.compile(prefix + r"[a-z0-9_]{8}")
    with suppress(OSError):  # a folder that cannot be listed may be written all the same
        for name in os.listdir(folder):
            if named.fullmatch(name):
                with suppress(OSError):
                    _delete_if_left(folder / name, begins)


def _delete_if_left(path: Path, begins: bytes) -> None:
    if path.is_symlink() or not path.is_file():
        return
    with path.open("r+b") as file:
        start = file.read(len(begins))
        if begins.startswith(start) and _lock(file.fileno()):
            path.unlink()


def _lock(descriptor: int) -> bool:
    """Lock a file for as long as it is open; tell whether nobody else has it."""
    if sys.platform == "win32":  # an open file cannot be deleted there
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
