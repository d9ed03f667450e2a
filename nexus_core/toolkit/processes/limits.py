"""Limits of a child process that parses foreign input: its memory, and its end with the process that waits for it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from contextlib import suppress
from threading import Thread
from time import sleep
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


GRACE_S = 1.0
"""After the time is over, for a thread to end the process; then it is ended without any."""


def end_within(seconds: float, code: int = 1) -> None:
    """End this process with an exit code after so many seconds, unless it has ended before; each call may shorten it.

    Nothing is waited for or cleaned up then, so only what survives being killed may be under way. Where a thread keeps
    the interpreter for itself, as a regular expression may, the exit code is 1 a second later.
    """
    Thread(target=_end, args=(seconds, code), name="nexus-end", daemon=True).start()
    # One timer for all: each call sets it anew, and those who hurry call last.
    with open(os.devnull, "w") as nowhere:
        kept = os.dup(nowhere.fileno())
    faulthandler.dump_traceback_later(seconds + GRACE_S, exit=True, file=kept)


def _end(seconds: float, code: int) -> None:
    sleep(seconds)
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"stopped: what was under way did not end in time\n")
    os._exit(code)
