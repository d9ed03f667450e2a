"""How many files and connections this process may have open: as many as it needs, where the system lets it."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    import resource

_FOR_ALL_ELSE = 256
"""Pipelines, the store, its indexes, sinks."""


def needed(connections: int) -> int:
    """Return how many a server needs at most: each client's connection may have one to a service."""
    return 2 * connections + _FOR_ALL_ELSE


def allow(count: int) -> int:
    """Let this process have so many open, or as many as it may; returns how many that is."""
    if sys.platform == "win32":
        return count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # macOS has a lower limit than it says
        return soft
    return most
