"""Ends what a test makes Python compute for too long, such as a regular expression that backtracks for ever.

By the processor's time, so that a busy machine fails no test. Only the main thread can be ended so, and only where
there are POSIX signals; elsewhere nothing is.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Never

MOST_CPU_S = 5.0
"""What a single regular expression or JSON Schema may take of a test; sound ones take milliseconds."""


class TimeLimitError(Exception):
    """Something took longer than it may."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it took more than {seconds:g} s of the processor's time")


@contextmanager
def limit_cpu(seconds: float | None = None) -> Iterator[None]:
    """Raise TimeLimitError out of whatever runs here when it has taken so much of the processor's time.

    `re` looks for signals as it backtracks, which no thread could make it do. One limit at a time.
    """
    if not hasattr(signal, "setitimer") or current_thread() is not main_thread():
        yield
        return
    limit = MOST_CPU_S if seconds is None else seconds

    def end(number: int, frame: FrameType | None) -> Never:
        raise TimeLimitError(limit)

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def is_found(pattern: str, text: str) -> bool:
    """Tell whether a regular expression is found in a text; raises TimeLimitError where that takes too long."""
    with limit_cpu():
        return re.search(pattern, text) is not None
