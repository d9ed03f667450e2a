"""What is remembered by name: the same in one process and in a file that several share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core.config.policies import RateLimitPolicy
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.calls.rate_limiter import Admission, RateLimiter
from nexus_core.server.access.access import WRONG_KEYS_PER_MINUTE, AuthThrottle
from nexus_core.server.access.key_limits import SharedLimiter
from nexus_core.server.workers.shared_counters import CounterStore, LocalCounters, SharedCounters, State, make_file

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there are no several workers")]

COUNTS = """
import sys
from nexus_core.server.workers.shared_counters import SharedCounters
memory = SharedCounters(int(sys.argv[1]), "keys")
for number in range(3000):
    memory.change(f"key {number % 3}", lambda state: ((1.0 if state is None else state[0] + 1,), None))
"""


@pytest.fixture
def file() -> Iterator[int]:
    """The descriptor of a file to share."""
    found = make_file()
    yield found
    os.close(found)


@pytest.fixture(params=["own", "shared"])
def memory(request: Any, file: int) -> CounterStore:
    """Both kinds."""
    return LocalCounters() if request.param == "own" else SharedCounters(file, "addresses")


def one_more(state: State | None) -> tuple[State, float]:
    count = 1.0 if state is None else state[0] + 1
    return (count, 7.0), count


def test_a_name_has_a_state_of_its_own(memory: CounterStore) -> None:
    """A new one has none; names of any letters, also such as no text should have."""
    names = ["a", "b", "", "é\udcff", "2001:db8::/64"]
    assert [memory.change(name, one_more) for name in names] == [1.0] * 5
    assert [memory.change(name, one_more) for name in names] == [2.0] * 5


def test_a_step_that_fails_changes_nothing(memory: CounterStore) -> None:
    """And leaves no lock behind."""

    def fails(state: State | None) -> tuple[State, None]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        memory.change("new", fails)
    assert memory.change("new", one_more) == 1.0


def test_own_memory_forgets_what_has_not_changed_for_longest() -> None:
    """It holds so many names and no more."""
    memory = LocalCounters(most=3)
    for name in ("a", "b", "c", "a", "d"):
        memory.change(name, one_more)
    assert [memory.change(name, one_more) for name in ("a", "b")] == [3.0, 1.0]


def test_shared_memory_gives_up_the_oldest_of_a_full_set(file: int) -> None:
    """However many names come, the file stays as it is, and the one that just changed is known."""
    memory, size = SharedCounters(file, "addresses"), os.fstat(file).st_size
    for number in range(20_000):
        assert memory.change(f"address {number}", one_more) == 1.0
        if number % 500 == 0:
            assert memory.change(f"address {number}", one_more) == 2.0
    assert memory.change("address 1", one_more) == 1.0
    assert os.fstat(file).st_size == size


def test_tables_of_the_file_are_apart(file: int) -> None:
    """Who fills the one with addresses pushes no key out of the other."""
    keys, addresses = SharedCounters(file, "keys"), SharedCounters(file, "addresses")
    assert keys.change("a", one_more) == 1.0
    for number in range(20_000):
        addresses.change(f"address {number}", one_more)
    assert keys.change("a", one_more) == 2.0


def test_no_step_of_several_processes_is_lost(file: int) -> None:
    """Each sees what the others did last (fault 104)."""
    workers = [subprocess.Popen([sys.executable, "-c", COUNTS, str(file)], pass_fds=(file,)) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    memory = SharedCounters(file, "keys")
    assert [memory.change(f"key {number}", one_more) for number in range(3)] == [3001.0] * 3


PLAN = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["enter", "leave", "reserve", "refuse", "wait"]), st.integers(0, 3000)),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(PLAN)
def test_two_that_share_a_limit_let_in_what_one_would(plan: list[tuple[bool, str, int]]) -> None:
    """Whichever of them is asked: every answer is that of a single limiter (faults 102, 104)."""
    limits = RateLimitPolicy(requests_per_minute=30, tokens_per_minute=60_000, concurrency=3)
    now = [0.0]
    clock, memory = Clock(now=lambda: now[0]), LocalCounters()
    alone, both = (
        RateLimiter(limits, clock),
        [SharedLimiter(RateLimiter(limits, clock), memory, "key") for _ in range(2)],
    )
    inside: list[tuple[SharedLimiter, Admission, Admission]] = []
    for second, what, number in plan:
        shared = both[second]
        if what == "wait":
            now[0] += number / 512  # a binary fraction, so that no sum is rounded
        elif what == "enter":
            mine, other = shared.try_enter(number), alone.try_enter(number)
            if isinstance(mine, Admission):
                assert isinstance(other, Admission)
                inside.append((shared, mine, other))
            else:
                assert mine == other
        elif inside and what == "reserve":
            shared, mine, other = inside[number % len(inside)]
            assert shared.reserve(mine, number * 5) == alone.reserve(other, number * 5)
        elif inside:
            shared, mine, other = inside.pop(number % len(inside))
            shared.leave(mine, number, was_refused=what == "refuse")
            alone.leave(other, number, was_refused=what == "refuse")
            assert shared.rooms() == alone.rooms()
    assert alone.inside == len(inside)


def test_wrong_keys_are_counted_by_the_minute(memory: CounterStore) -> None:
    """Of each address apart; who comes too often hears how long to wait (fault 203)."""
    now = [100.0]
    failures = AuthThrottle(memory, Clock(now=lambda: now[0]))
    assert [failures.note("a") for _ in range(WRONG_KEYS_PER_MINUTE)] == [0.0] * WRONG_KEYS_PER_MINUTE
    now[0] += 20
    assert (failures.note("a"), failures.note("b")) == (40.0, 0.0)
    now[0] += 40
    assert failures.note("a") == 0.0
