"""Small states by name that change in one step each: in this process, or in a file that all workers of a server share.

The file has no name: who makes it hands its descriptor on, and it is gone with the last process. A step under the lock
takes some microseconds, and a worker that is killed within one loses the lock.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from time import monotonic
from typing import Protocol, TypeVar

if sys.platform != "win32":
    import fcntl

T = TypeVar("T")
State = tuple[float, ...]
Step = Callable[[State | None], tuple[State, T]]
"""Takes a state, `None` for a new one, and returns what it becomes with a result."""

FIGURES = 6
"""So many numbers a state has at most."""
_MOST = 10_000
_TABLES = ("keys", "addresses")
_SETS = 1024
_RECORD = struct.Struct(f"=16s{1 + FIGURES}d")
"""The hash of a name, when it last changed, and the state."""
_IN_SET = 8
_SET_BYTES = _RECORD.size * _IN_SET


class CounterStore(Protocol):
    """Remembers states."""

    def change(self, name: str, step: Step[T]) -> T:
        """Let a step change what is remembered of a name, and return its result."""


class LocalCounters:
    """Remembers for this process the names that have changed last."""

    def __init__(self, most: int = _MOST) -> None:
        self._states: OrderedDict[str, State] = OrderedDict()
        self._most = most

    def change(self, name: str, step: Step[T]) -> T:
        """Let a step change what is remembered of a name, and return its result."""
        self._states[name], found = step(self._states.pop(name, None))
        if len(self._states) > self._most:
            self._states.popitem(last=False)
        return found


class SharedCounters:
    """Remembers in one table of the file.

    A name has eight places that it may be in; where all are taken, it gets that of the one that has not changed for
    longest.
    """

    def __init__(self, file: int, table: str) -> None:
        self._file = file
        self._start = _TABLES.index(table) * _SETS * _SET_BYTES

    def change(self, name: str, step: Step[T]) -> T:
        """Let a step change what is remembered of a name, and return its result."""
        digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        at = self._start + int.from_bytes(digest[:4], "big") % _SETS * _SET_BYTES
        # A lock of a process, not of a descriptor: that is the same in all workers.
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            records = list(_RECORD.iter_unpack(os.pread(self._file, _SET_BYTES, at)))
            known = next((place for place, record in enumerate(records) if record[0] == digest), None)
            state, found = step(None if known is None else records[known][2:])
            place = min(range(_IN_SET), key=lambda each: records[each][1]) if known is None else known
            padded = (*state, *(0.0,) * (FIGURES - len(state)))
            os.pwrite(self._file, _RECORD.pack(digest, monotonic(), *padded), at + place * _RECORD.size)
            return found
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def make_file() -> int:
    """Return the descriptor of a new file for `SharedMemory`, whole, so that it never lacks room later."""
    with tempfile.TemporaryFile(prefix="nexus-") as file:
        file.write(bytes(len(_TABLES) * _SETS * _SET_BYTES))
        file.flush()
        return os.dup(file.fileno())
