"""Stamps of files: what changes whenever a file does, and when a stamp can be relied on."""

from __future__ import annotations

import os

Stamp = tuple[int, int, int]
"""Last change of the content, last change of any kind, both in nanoseconds, and the size in bytes."""
_TICK_NS = 100_000_000
_TICK_COARSE_NS = 2_000_000_000
"""Of a file system that counts in whole seconds."""


def stamp_of(status: os.stat_result) -> Stamp:
    """Return what changes whenever a file or folder does."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


def settled(stamp: Stamp, looked_at: int) -> bool:
    """Tell whether what changes after `looked_at` is sure to get another stamp: clocks of file systems tick slowly."""
    modified, changed, _ = stamp
    coarse = modified % 1_000_000_000 == changed % 1_000_000_000 == 0
    return abs(looked_at - changed) > (_TICK_COARSE_NS if coarse else _TICK_NS)


def mark_stamp(stamp: Stamp, looked_at: int) -> str:
    """Return a stamp as a `DocumentMark` has it: empty where the file may change again without another one."""
    return "{}-{}-{}".format(*stamp) if settled(stamp, looked_at) else ""
