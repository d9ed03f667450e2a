"""An end in time: a process that was told to stop does so, whatever its threads do."""

from __future__ import annotations

import os
import sys
from threading import Thread
from time import sleep

GRACE_S = 1.0
"""After the time is over, for a thread to end the process; then it is ended without any."""


def end_within(seconds: float, code: int = 1) -> None:
    """End this process with an exit code after so many seconds, unless it has ended before; each call may shorten it.

    Nothing is waited for or cleaned up then, so only what survives being killed may be under way. Where a thread keeps
    the interpreter for itself, as a regular expression may, the exit code is 1 a second later.
    """
    import faulthandler  # only those who stop need it

    Thread(target=_end, args=(seconds, code), name="nexus-end", daemon=True).start()
    # One timer for all: each call sets it anew, and those who hurry call last.
    with open(os.devnull, "w") as nowhere:
        kept = os.dup(nowhere.fileno())
    faulthandler.dump_traceback_later(seconds + GRACE_S, exit=True, file=kept)


def _end(seconds: float, code: int) -> None:
    sleep(seconds)
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"stopped: what was under way did not end in time\n")
    os._exit(code)
