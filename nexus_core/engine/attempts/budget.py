"""How many retries a target may cost: under a total outage, attempts stay below 1.1 times the calls, plus 10."""

from __future__ import annotations

CAPACITY = 10
FIRSTS_PER_RETRY = 10
"""So many first attempts earn one retry: retries are a tenth of the load at most."""


class RetryBudget:
    """A purse of retries, full at first; each first attempt adds a tenth of one, each retry takes one.

    Counted in tenths, so that a million additions do not drift.
    """

    __slots__ = ("_tenths",)

    def __init__(self) -> None:
        self._tenths = CAPACITY * FIRSTS_PER_RETRY

    @property
    def left(self) -> float:
        """How many retries there are, from 0 to 10."""
        return self._tenths / FIRSTS_PER_RETRY

    def first(self) -> None:
        """Note the first attempt of a call on the target."""
        if self._tenths < CAPACITY * FIRSTS_PER_RETRY:
            self._tenths += 1

    def take(self) -> bool:
        """Take one retry; False where there is none left, and then nothing is taken."""
        if self._tenths < FIRSTS_PER_RETRY:
            return False
        self._tenths -= FIRSTS_PER_RETRY
        return True
