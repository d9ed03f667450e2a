"""The budget of a key that several servers share: never more than the limits, and nothing lost."""

from __future__ import annotations

from math import inf

from hypothesis import given, strategies as st

from nexus_core.config.policies import RateLimitPolicy
from nexus_core.engine.calls.rate_limiter import NEARLY
from nexus_core.server.cluster.key_budget import LEASE_S, Exchange, KeyBudget, Share

LIMITS = RateLimitPolicy(requests_per_minute=60, tokens_per_minute=6_000, concurrency=4, queue=0)
BURST = 10.0
STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 500), st.floats(0, 3)), max_size=30
)


def exchange(state: str | None, server: str, now: float, asked: Exchange) -> tuple[Share, str]:
    budget = KeyBudget(LIMITS, state, now)
    return budget.exchange(server, asked), budget.state()


@given(STEPS)
def test_all_servers_together_never_get_more_than_the_limits(steps: list[tuple[str, int, int, float]]) -> None:
    """Whoever asks whenever: what was given out is at most the burst and what the time has brought."""
    state, now, requests, tokens = None, 0.0, 0.0, 0.0
    for server, count, size, pause in steps:
        now += pause
        asked = Exchange(demands=[float(size)] * count, spare_requests=3.0, spare_tokens=500.0)
        share, state = exchange(state, server, now, asked)
        requests, tokens = requests + share.requests, tokens + share.tokens
        assert requests <= BURST + now + NEARLY
        assert tokens <= 100 * (BURST + now) + NEARLY
        assert share.slots <= 4


def test_places_of_a_server_that_was_killed_come_back() -> None:
    """After its lease, and not before."""
    share, state = exchange(None, "a", 0.0, Exchange(demands=[0.0] * 6))
    assert (share.slots, share.waits) == (4, (0, 0, 0, 0, inf, inf))
    share, state = exchange(state, "b", LEASE_S - 1, Exchange(demands=[0.0]))
    assert (share.slots, share.waits) == (0, (inf,))
    share, state = exchange(state, "b", LEASE_S + 1, Exchange(demands=[0.0]))
    assert (share.slots, share.waits) == (1, (0,))


def test_what_is_given_back_is_there_for_others() -> None:
    """All of it, and the places with it."""
    share, state = exchange(None, "a", 0.0, Exchange(demands=[100.0] * 4))
    back = Exchange(requests=share.requests, tokens=share.tokens)
    _, state = exchange(state, "a", 0.0, back)
    share, _ = exchange(state, "b", 0.0, Exchange(demands=[1000.0]))
    assert (share.waits, share.left) == ((0,), (BURST - 1, 0.0))


def test_a_debt_is_paid_before_others_get_more() -> None:
    """What a server owes is taken from what is left."""
    _, state = exchange(None, "a", 0.0, Exchange(tokens=-1_500.0))
    share, _ = exchange(state, "b", 0.0, Exchange(demands=[100.0]))
    assert share.waits == (6.0,)
