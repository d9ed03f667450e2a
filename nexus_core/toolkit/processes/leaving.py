"""How the process of a command ends: by Ctrl-C without a traceback, with nobody who reads, with threads that go on."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from threading import enumerate as enumerate_threads, main_thread

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


def hear_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from here on, where it ended the process."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def leave_interrupts() -> None:
    """Let Ctrl-C end the process, which has nothing more to do than to leave, unless it is ignored."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def end_interrupted(unraisable: sys.UnraisableHookArgs) -> None:
    """End the process where Ctrl-C was raised in what raises nothing: Python would print it, and go on."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    else:
        sys.__unraisablehook__(unraisable)


def write_nothing() -> None:
    """Let what is still written go nowhere: the interpreter would print that it cannot be written."""
    with open(os.devnull, "w") as nowhere:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # it is closed, or was never there
                os.dup2(nowhere.fileno(), stream.fileno())


def end_with_threads(code: int) -> None:
    """End the process here where there are threads that no exit waits for.

    The interpreter would end them where they next ask for it, in the midst of what is no Python as well: compiled code
    that does not bear it aborts the process then.
    """
    others = [thread for thread in enumerate_threads() if thread is not main_thread()]
    if not any(thread.daemon for thread in others):
        return
    for thread in others:
        if not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # the same, or nobody reads it
            stream.flush()
    os._exit(code)
