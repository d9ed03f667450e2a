"""When a worker that has ended is started again: later each time, and not for ever where it never begins to serve."""

from __future__ import annotations

FIRST_S = 0.5
LONGEST_S = 30.0
HEALTHY_S = 60.0
"""A worker that has served for so long was well: what comes after it begins at the first pause again."""
STARTS = 3
"""Starts in a row after which a worker that never served is given up."""


class RestartBackoff:
    """Counts the ends of one worker."""

    def __init__(self) -> None:
        self._ends = 0
        self._failed_starts = 0

    def after(self, lived_s: float, *, served: bool) -> float | None:
        """Return the pause after a process that lived so long; `None` where no other is to be started."""
        self._failed_starts = 0 if served else self._failed_starts + 1
        if self._failed_starts >= STARTS:
            return None
        self._ends = 1 if served and lived_s >= HEALTHY_S else self._ends + 1
        return min(FIRST_S * 2.0 ** (self._ends - 1), LONGEST_S) if self._ends < 64 else LONGEST_S
