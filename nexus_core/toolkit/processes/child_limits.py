"""Limits of a child process that parses foreign input: its memory, and its end with the process that waits for it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

if sys.platform != "win32":
    import resource

MEMORY = 4 * 2**30
"""Bytes of addresses that one child may use, where the system can limit them."""
LOOK_S = 1.0
"""Of its own time at work, after which it looks whether anybody still waits."""


def limit_memory() -> None:
    """Let this process have no more than `MEMORY`, where the system can do that."""
    if sys.platform != "win32":
        with suppress(ValueError, OSError):  # less is allowed already
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def end_with(parent: int) -> None:
    """End where the process that waits is killed, though a document never ends: seen at work, not while it sleeps."""

    def look(number: int, frame: FrameType | None) -> None:
        if os.getppid() != parent:
            os._exit(1)

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGVTALRM, look)
        signal.setitimer(signal.ITIMER_VIRTUAL, LOOK_S, LOOK_S)
