"""How long to wait before a target is asked again: full jitter, and what the service asks for over it."""

from __future__ import annotations

from math import isfinite
from random import Random
from typing import NamedTuple

from nexus_core.config.policies import RetryPolicy
from nexus_core.contract.errors import ConnectorError

LONGEST_GATE_S = 3600.0
"""A target is left alone for an hour at most, whatever its service asks for."""

_MOST_DOUBLINGS = 64


class Pause(NamedTuple):
    """What to do before the next attempt on the same target."""

    wait_s: float
    gate_s: float | None = None
    """When set, do not wait: leave the target alone for so long and go on without it."""


def pause_after(error: ConnectorError, retry: int, policy: RetryPolicy, random: Random, *, at_once: bool) -> Pause:
    """Return the pause before the `retry`-th retry (from 1) of a target that failed with this error.

    A wait that the service asks for is never cut short, and is lengthened by a random part so that those who were told
    the same do not come back together. What is no time to wait (negative, NaN, infinite) counts as not said.
    """
    asked = error.retry_after_s
    if asked is not None and isfinite(asked) and asked > 0:
        if asked > policy.longest_retry_after_s:
            return Pause(0.0, min(asked, LONGEST_GATE_S))
        return Pause(asked + random.uniform(0, 0.1 * asked + 0.25))
    if at_once and retry == 1:
        return Pause(0.0)
    doublings = min(max(retry - 1, 0), _MOST_DOUBLINGS)
    return Pause(random.uniform(0, min(policy.longest_wait_s, policy.first_wait_s * 2**doublings)))
