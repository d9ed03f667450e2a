"""When a target is left alone, and how it comes back."""

from __future__ import annotations

from math import inf, nan
from random import Random

import pytest

from nexus_core.config.policies import BreakerPolicy
from nexus_core.engine.calls.circuit_breaker import CircuitBreaker, Permit


def a_breaker(policy: BreakerPolicy | None = None, seed: int = 1) -> CircuitBreaker:
    return CircuitBreaker(policy or BreakerPolicy(), Random(seed))


def feed(breaker: CircuitBreaker, outcomes: str, now: float = 0.0, step: float = 0.0) -> float:
    """Send requests one after the other: `+` is answered, `-` fails, `?` has no verdict."""
    for outcome in outcomes:
        permit = breaker.enter(now)
        assert permit is not None
        breaker.leave(permit, {"+": True, "-": False, "?": None}[outcome], now)
        now += step
    return now


def opened(openings: int = 1) -> tuple[CircuitBreaker, float]:
    """Return a breaker that has opened so many times in a row, and the time of the last."""
    breaker, now = a_breaker(), 0.0
    feed(breaker, "-----")
    for _ in range(openings - 1):
        now += breaker.opens_at(now)
        feed(breaker, "-", now)
    return breaker, now


def test_five_failures_in_a_row_open_it() -> None:
    """Four do not."""
    breaker = a_breaker()
    feed(breaker, "----")
    assert breaker.closed
    feed(breaker, "-")
    assert (breaker.closed, breaker.state(0), breaker.enter(0)) == (False, "open", None)


def test_an_answer_between_failures_begins_the_row_again() -> None:
    """In a row means in a row."""
    breaker = a_breaker()
    feed(breaker, "----+----")
    assert breaker.closed


def test_outcomes_without_a_verdict_count_for_nothing() -> None:
    """Cancelled requests and rate limits neither mend a row nor lengthen it."""
    breaker = a_breaker()
    feed(breaker, "????????????--?--")
    assert breaker.closed
    feed(breaker, "?-")
    assert not breaker.closed


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [("-+-+-+-+-", False), ("-+-+-+-+--", True), ("+" * 9 + "-", False), ("++++++--+---", False), ("++++-+----", True)],
    ids=["nine", "half of ten", "one of ten", "five of twelve", "five of ten"],
)
def test_half_of_ten_outcomes_open_it(outcomes: str, opens: bool) -> None:
    """The share counts once there are ten outcomes in the window."""
    breaker = a_breaker()
    feed(breaker, outcomes)
    assert breaker.closed is not opens


def test_outcomes_leave_the_window_after_a_minute() -> None:
    """Failures of two minutes ago do not count with those of now."""
    breaker = a_breaker()
    feed(breaker, "-+--+-+-+", now=0)
    feed(breaker, "--+", now=61)
    assert breaker.closed


def test_the_window_takes_the_same_memory_however_much_is_counted() -> None:
    """A hundred thousand outcomes are a few counters."""
    breaker = a_breaker()
    feed(breaker, "+" * 100_000, step=0.01)
    assert len(breaker._outcomes._slots) <= 60
    assert breaker._outcomes.total == pytest.approx(6000, rel=0.03)


@pytest.mark.parametrize(("openings", "length"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (200, 60)])
def test_each_opening_lasts_twice_as_long_up_to_a_minute(openings: int, length: float) -> None:
    """5 s, 10 s, ... 60 s, each a fifth longer or shorter."""
    breaker, now = opened(openings)
    assert length * 0.8 <= breaker.opens_at(now) <= length * 1.2


def test_openings_of_many_processes_end_at_different_times() -> None:
    """A fifth of spread either way keeps probes apart."""
    ends = []
    for seed in range(100):
        breaker = a_breaker(seed=seed)
        feed(breaker, "-----")
        ends.append(breaker.opens_at(0))
    assert min(ends) < 4.2
    assert max(ends) > 5.8


def test_the_only_target_is_never_shut_for_long() -> None:
    """Where there is nothing else to ask, an opening lasts 5 s at most, whoever caused it."""
    breaker, now = opened(5)
    assert breaker.opens_at(now, alone=True) <= 5
    assert breaker.enter(now + 5) is None
    assert breaker.enter(now + 5, alone=True) is not None


def test_an_opening_by_a_call_without_another_target_is_short() -> None:
    """The cap holds from the start."""
    breaker = a_breaker()
    for _ in range(5):
        breaker.leave(Permit(False, 0), False, 0, alone=True)
    assert breaker.opens_at(0) <= 5


def test_one_probe_at_a_time() -> None:
    """While a probe is out nobody else is let through, however long it takes."""
    breaker, now = opened()
    now += breaker.opens_at(now)
    assert breaker.state(now) == "half_open"
    probe = breaker.enter(now)
    assert probe is not None
    assert probe.probe
    assert breaker.enter(now + 500) is None
    assert breaker.opens_at(now) == inf


def test_two_answered_probes_close_it_and_forget_the_past() -> None:
    """The next opening is as short as the first was."""
    breaker, now = opened(4)
    now += breaker.opens_at(now)
    feed(breaker, "+", now)
    assert not breaker.closed
    feed(breaker, "+", now)
    assert (breaker.closed, breaker.state(now)) == (True, "closed")
    feed(breaker, "-----", now)
    assert breaker.opens_at(now) <= 6


def test_a_failed_probe_opens_it_for_longer() -> None:
    """Also after one that was answered."""
    breaker, now = opened()
    now += breaker.opens_at(now)
    feed(breaker, "+-", now)
    assert 8 <= breaker.opens_at(now) <= 12
    now += breaker.opens_at(now)
    feed(breaker, "+", now)
    assert not breaker.closed


def test_a_cancelled_probe_frees_its_place_and_says_nothing() -> None:
    """The next request is the probe."""
    breaker, now = opened()
    now += breaker.opens_at(now)
    feed(breaker, "?", now)
    assert breaker.opens_at(now) == 0
    feed(breaker, "++", now)
    assert breaker.closed


def test_a_probe_that_is_given_back_twice_counts_once() -> None:
    """Two answers need two probes."""
    breaker, now = opened()
    now += breaker.opens_at(now)
    probe = breaker.enter(now)
    assert probe is not None
    breaker.leave(probe, True, now)
    breaker.leave(probe, True, now)
    assert not breaker.closed


@pytest.mark.parametrize("ok", [True, False])
def test_requests_from_before_an_opening_have_no_say_after_it(ok: bool) -> None:
    """Slow requests that began before the outage neither close the breaker nor open it again."""
    breaker = a_breaker()
    old = [breaker.enter(0) for _ in range(20)]
    feed(breaker, "-----")
    now = breaker.opens_at(0)
    for permit in old[:10]:
        assert permit is not None
        breaker.leave(permit, ok, now)
    assert breaker.state(now) == "half_open"
    feed(breaker, "++", now)
    for permit in old[10:]:
        assert permit is not None
        breaker.leave(permit, ok, now)
    assert breaker.closed


def test_a_parked_target_is_left_alone_and_then_serves_as_before() -> None:
    """A wrong key is not tried for five minutes; nothing is held against the target afterwards."""
    breaker = a_breaker()
    breaker.park(10, 300)
    assert (breaker.state(10), breaker.enter(309.9), breaker.opens_at(10)) == ("parked", None, 300)
    assert breaker.enter(310) == Permit(False, 0)
    assert breaker.closed


def test_a_gate_is_never_shortened_and_is_an_hour_at_most() -> None:
    """A second service word of a shorter wait does not open what the first has shut (fault 4)."""
    breaker = a_breaker()
    breaker.gate(0, 100)
    breaker.gate(0, 10)
    assert breaker.opens_at(0) == 100
    breaker.gate(0, inf)
    assert breaker.opens_at(0) == 3600


@pytest.mark.parametrize("seconds", [0, -1, nan, -inf])
def test_a_gate_of_no_time_does_nothing(seconds: float) -> None:
    """A hostile wait shuts no target (fault 5)."""
    breaker = a_breaker()
    breaker.gate(0, seconds)
    assert breaker.closed


def test_a_gate_holds_probes_back_too() -> None:
    """Open and gated: whichever is longer."""
    breaker, now = opened()
    breaker.gate(now, 50)
    assert breaker.opens_at(now) == 50
    assert breaker.enter(now + 49) is None
    assert breaker.enter(now + 50) is not None


def test_a_breaker_that_closes_while_it_is_gated_stays_shut() -> None:
    """The probe was answered, and the service still asks to be left alone."""
    breaker, now = opened()
    now += breaker.opens_at(now)
    feed(breaker, "+", now)
    probe = breaker.enter(now)
    assert probe is not None
    breaker.gate(now, 20)
    breaker.leave(probe, True, now)
    assert (breaker.state(now), breaker.enter(now)) == ("parked", None)
    assert breaker.enter(now + 20) is not None


def test_without_a_policy_it_never_opens_and_is_never_parked() -> None:
    """`breaker: false`; a service that asks to be left alone is still heard."""
    breaker = CircuitBreaker(None, Random(1))
    feed(breaker, "-" * 100)
    breaker.park(0, 300)
    assert breaker.closed
    breaker.gate(0, 3)
    assert breaker.opens_at(0) == 3
    assert breaker.enter(3) is not None
