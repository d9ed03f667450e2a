"""How long is waited before a retry, and when not at all."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, strategies as st

from nexus_core.config.policies import RetryPolicy
from nexus_core.contract.errors import ConnectorError
from nexus_core.engine.calls.retry_budget import LONGEST_GATE_S, RetryDelay, retry_delay

POLICY = RetryPolicy()


def after(asked: float | None, retry: int = 1, *, seed: int = 0, at_once: bool = False) -> RetryDelay:
    error = ConnectorError("failed", retry_after_s=asked)
    return retry_delay(error, retry, POLICY, Random(seed), at_once=at_once)


@pytest.mark.parametrize(("retry", "most"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 8), (5000, 8)])
def test_a_wait_is_a_random_part_of_a_bound_that_doubles(retry: int, most: float) -> None:
    """Full jitter: evenly from 0 to `min(8, 0.5 * 2^(retry - 1))`."""
    waits = sorted(after(None, retry, seed=seed).wait_s for seed in range(400))
    assert 0 <= waits[0] < most * 0.05
    assert most * 0.95 < waits[-1] <= most
    assert waits[200] == pytest.approx(most / 2, rel=0.15)


def test_a_first_retry_at_once_waits_for_nothing() -> None:
    """A stale connection is replaced at once, and only once: the second retry waits like any other (fault 11)."""
    assert after(None, 1, at_once=True) == RetryDelay(0.0)
    assert after(None, 2, at_once=True).wait_s > 0


def test_a_hundred_clients_told_the_same_do_not_come_back_together() -> None:
    """Each waits what the service asks for and a random time more: no slot of 10 ms is crowded (fault 8)."""
    waits = [after(4.0, seed=seed).wait_s for seed in range(100)]
    assert all(4.0 < wait <= 4.65 for wait in waits)
    slots = [int(wait * 100) for wait in waits]
    assert max(slots.count(slot) for slot in slots) <= 8  # 65 slots: chance makes 6 at most, in all but rare cases


def test_a_hundred_clients_without_advice_spread_over_the_whole_wait() -> None:
    """The first retries of an outage are spread as evenly as chance does it (fault 8)."""
    slots = [int(after(None, seed=seed).wait_s * 100) for seed in range(100)]
    assert len(set(slots)) > 35  # of 50; chance gives 43
    assert max(slots.count(slot) for slot in slots) <= 9


@pytest.mark.parametrize("asked", [math.nan, math.inf, -math.inf, -5.0, 0.0, -0.0])
def test_a_retry_after_that_is_no_time_counts_as_not_said(asked: float) -> None:
    """NaN, infinity, a negative wait or none give the usual wait, never none at all for ever (fault 5)."""
    assert after(asked, 3) == after(None, 3)


def test_a_long_retry_after_gates_the_target_and_is_not_waited_for() -> None:
    """Beyond 30 s the call goes on without the target (fault 4)."""
    assert after(30.1) == RetryDelay(0.0, 30.1)
    assert after(30.0).gate_s is None


def test_a_gate_is_an_hour_at_most() -> None:
    """A service that asks for days is asked again after an hour (fault 4)."""
    assert after(86_400.0).gate_s == LONGEST_GATE_S == 3600


def test_what_the_service_asks_for_stands_over_a_retry_at_once() -> None:
    """A service that names a wait is not asked at once, whatever the error."""
    assert after(2.0, at_once=True).wait_s > 2


@given(st.floats() | st.none(), st.integers(-3, 10**9), st.integers(0, 99), st.booleans())
def test_a_pause_is_always_finite_and_bounded(asked: float | None, retry: int, seed: int, at_once: bool) -> None:
    """Whatever the service says, a wait is from 0 to the cap and its jitter, a gate up to an hour (fault 5)."""
    pause = after(asked, retry, seed=seed, at_once=at_once)
    assert 0 <= pause.wait_s <= 30 + 0.1 * 30 + 0.25
    assert pause.gate_s is None or (30 < pause.gate_s <= 3600 and pause.wait_s == 0)
    if asked is not None and 0 < asked <= 30:
        assert pause.wait_s >= asked
