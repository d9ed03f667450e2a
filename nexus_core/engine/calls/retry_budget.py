"""How many retries a target may cost: under a total outage, attempts stay below 1.1 times the calls, plus 10."""

from __future__ import annotations

from math import isfinite
from random import Random
from typing import NamedTuple

from nexus_core.config.policies import RetryPolicy
from nexus_core.contract.errors import ConnectorError

LONGEST_GATE_S = 3600.0
"""A target is left alone for an hour at most, whatever its service asks for."""

_MOST_DOUBLINGS = 64


class RetryDelay(NamedTuple):
    """What to do before the next attempt on the same target."""

    wait_s: float
    gate_s: float | None = None
    """When set, do not wait: leave the target alone for so long and go on without it."""


def retry_delay(error: ConnectorError, retry: int, policy: RetryPolicy, random: Random, *, at_once: bool) -> RetryDelay:
    """Return the pause before the `retry`-th retry (from 1) of a target that failed with this error.

    A wait that the service asks for is never cut short, and is lengthened by a random part so that those who were told
    the same do not come back together. What is no time to wait (negative, NaN, infinite) counts as not said.
    """
    asked = error.retry_after_s
    if asked is not None and isfinite(asked) and asked > 0:
        if asked > policy.longest_retry_after_s:
            return RetryDelay(0.0, min(asked, LONGEST_GATE_S))
        return RetryDelay(asked + random.uniform(0, 0.1 * asked + 0.25))
    if at_once and retry == 1:
        return RetryDelay(0.0)
    doublings = min(max(retry - 1, 0), _MOST_DOUBLINGS)
    return RetryDelay(random.uniform(0, min(policy.longest_wait_s, policy.first_wait_s * 2**doublings)))


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
