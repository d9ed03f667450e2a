"""Lines of the log about what may happen thousands of times in a minute: one line, with how often it was."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

EVERY_S = 60.0


class ThrottledLog:
    """Counts what happens, and writes one line about it: at once for the first, then at most one a minute."""

    def __init__(
        self, log: logging.Logger, text: str, *, every_s: float = EVERY_S, clock: Callable[[], float] = monotonic
    ) -> None:
        """Take the text of the line: `%d` in it is how often it happened since the last line, `%s` the last detail."""
        self._log = log
        self._text = text
        self._every_s = every_s
        self._clock = clock
        self._told_at: float | None = None
        self._untold = 0

    def note(self, detail: object) -> None:
        """Count one."""
        self._untold += 1
        now = self._clock()
        if self._told_at is None or now - self._told_at >= self._every_s:
            self._log.warning(self._text, self._untold, detail)
            self._told_at, self._untold = now, 0
