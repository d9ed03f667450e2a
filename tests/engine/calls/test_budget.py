"""The purse of retries."""

from __future__ import annotations

from hypothesis import given, strategies as st

from nexus_core.engine.calls.retry_budget import RetryBudget


def test_a_new_budget_has_ten_retries() -> None:
    """A short trouble is met with retries at once."""
    budget = RetryBudget()
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]


def test_ten_first_attempts_earn_one_retry() -> None:
    """In the long run retries are a tenth of the load."""
    budget = RetryBudget()
    assert all(budget.take() for _ in range(10))
    for _ in range(9):
        budget.first()
    assert not budget.take()
    budget.first()
    assert budget.take()
    assert not budget.take()


def test_a_quiet_hour_saves_up_ten_retries_and_no_more() -> None:
    """What was earned in good times does not make a storm in bad ones."""
    budget = RetryBudget()
    for _ in range(100_000):
        budget.first()
    assert budget.left == 10


def test_a_total_outage_costs_a_tenth_more_and_ten() -> None:
    """A thousand calls that all fail, each retried while it may be, make 1,110 attempts at most (fault 10)."""
    budget, attempts = RetryBudget(), 0
    for _ in range(1000):
        budget.first()
        attempts += 1
        for _ in range(2):
            attempts += budget.take()
    assert 1100 <= attempts <= 1110


@given(st.lists(st.booleans(), max_size=300))
def test_attempts_never_exceed_the_bound(firsts: list[bool]) -> None:
    """In any order of first attempts and retries: attempts <= 1.1 x calls + 10 (fault 10)."""
    budget, calls, retries = RetryBudget(), 0, 0
    for first in firsts:
        if first:
            calls += 1
            budget.first()
        else:
            retries += budget.take()
        assert 10 * (calls + retries) <= 11 * calls + 100
        assert 0 <= budget.left <= 10
