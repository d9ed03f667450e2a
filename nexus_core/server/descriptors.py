"""Open files of the process: as many as its connections need, where the system lets it have them."""

from __future__ import annotations

import sys

from nexus_core.server.settings import Limits

_OTHERS = 256
"""Files of the store, of sinks and of the interpreter."""


def make_room(limits: Limits) -> str:
    """Let this process open as many files as it may need; return what to say where it may not, else the empty text.

    Many systems allow 1,024 unless they are asked: then the last connections find no file for their upstream.
    """
    if sys.platform == "win32":
        return ""
    import resource

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
    return f"{told}: raise `ulimit -n`, or lower --connections"
