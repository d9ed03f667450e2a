"""Open files of the process: as many as its connections need, and no more connections than it has files for."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from nexus_core.server.settings import ServerLimits

if sys.platform != "win32":
    import resource

_OTHERS = 256
"""Files of the store, of sinks and of the interpreter."""
_OTHERS_AT_LEAST = 16
"""Beyond what is open already, where few are allowed."""
SPARE = 4
"""Of these, connections that are accepted only to be refused."""


def make_room(limits: ServerLimits) -> str:
    """Let this process open as many files as it may need; return what to say where it may not, else the empty text.

    Many systems allow 1,024 unless they are asked: then the last connections find no file for their upstream.
    """
    if sys.platform == "win32":
        return ""
    needed = 2 * limits.connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):  # macOS has a lower limit than it says
            most = soft
    if most == needed:
        return ""
    told = f"{limits.connections:,} connections may need {needed:,} open files, and this process may open {most:,}"
    return f"{told}, so fewer are taken: raise `ulimit -n`, or lower --connections"


def connections_within(limits: ServerLimits) -> int:
    """Return how many connections this process has files for: each may need a second one for its upstream."""
    allowed = _allowed()
    if allowed is None:
        return limits.connections
    others = max(min(_OTHERS, allowed // 2), _open_now() + _OTHERS_AT_LEAST)
    return max(1, min(limits.connections, (allowed - others) // 2))


def _allowed() -> int | None:
    """Return how many files this process may open, `None` where there is no limit."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _open_now() -> int:
    with suppress(OSError):
        return len(os.listdir("/dev/fd"))
    return _OTHERS_AT_LEAST
