"""Runs at rest, whatever database they are in: what is kept of them, by whom they are written, and how they end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import evolve

from nexus_core import Store, UsageError, Viewer
from nexus_core.store.runs import KEEP_S, NewRun, RunBatch, StoredRuns, describe_viewer

pytestmark = pytest.mark.slow


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runs(store: Store, clock: Clock) -> StoredRuns:
    return StoredRuns(store._threads, clock)


def new(id: str = "r1", **more: Any) -> NewRun:
    told: dict[str, Any] = {
        "id": id, "owner": "ann", "idempotency": None, "fingerprint": "f", "api": "queries", "viewer": None,
        "pipeline": "own", "context": None, "model": "main", "model_id": "fake-1", "background": False,
        "in_ledger": True, "created": 990.0, "server": "here",
    }  # fmt: skip
    return NewRun(**{**told, **more})


def batch(first: int, last: int, id: str = "r1", **more: Any) -> RunBatch:
    return RunBatch(id=id, first_event=first, last_event=last, data=f"{first}-{last}".encode(), **more)


async def test_batches_are_kept_in_their_order(runs: StoredRuns) -> None:
    """From the one on that holds the next event; what makes room is gone."""
    await runs.begin(new())
    for first in (1, 5, 9):
        assert await runs.keep("here", [batch(first, first + 3)]) == ()
    assert await runs.events("r1", 5) == ((5, 8, b"5-8"), (9, 12, b"9-12"))
    await runs.keep("here", [batch(13, 13, oldest_event=9)])
    assert [first for first, _, _ in await runs.events("r1", 0)] == [9, 13]
    assert (await runs.get("r1", owner="ann")).events == 13


async def test_a_name_stands_for_one_run_of_its_owner(runs: StoredRuns, clock: Clock) -> None:
    """Until it has expired; each owner has names of their own."""
    first = await runs.begin(new("r1", idempotency="k"))
    assert (await runs.begin(new("r2", idempotency="k"))).id == first.id
    assert (await runs.begin(new("r3", idempotency="k", owner="bob"))).id == "r3"
    assert [(await runs.begin(new(f"n{number}"))).id for number in range(2)] == ["n0", "n1"]
    await runs.keep("here", [batch(1, 1, state="completed")])
    clock.now += KEEP_S
    assert (await runs.begin(new("r4", idempotency="k"))).id == "r4"


async def test_names_that_come_together_stand_for_one_run(runs: StoredRuns) -> None:
    """Whoever is first."""
    found = await asyncio.gather(*(runs.begin(new(f"r{number}", idempotency="k")) for number in range(20)))
    assert len({run.id for run in found}) == 1


async def test_a_run_is_its_owner_s_until_it_expires(runs: StoredRuns, clock: Clock) -> None:
    """Then it is not there, and deleted with its events."""
    await runs.begin(new())
    with pytest.raises(UsageError, match="no run 'r1'"):
        await runs.get("r1", owner="bob")
    await runs.keep("here", [batch(1, 1, state="completed")])
    assert await runs.expire() == 0
    clock.now += KEEP_S
    with pytest.raises(UsageError, match="expired"):
        await runs.get("r1", owner="ann")
    assert (await runs.expire(), await runs.events("r1", 0)) == (1, ())


async def test_what_has_ended_is_not_written_again(runs: StoredRuns, store: Store) -> None:
    """Nor by its own server, once another has ended it; who writes hears of that."""
    run = await runs.begin(new())
    assert await runs.keep("elsewhere", [batch(1, 1)]) == ("r1",)
    assert await runs.interrupt(run, b"gone", None)
    assert await runs.keep("here", [batch(1, 5)]) == ("r1",)
    assert await runs.beat("here") == ()
    assert await runs.events("r1", 0) == ((1, 1, b"gone"),)
    assert len(await store.usage()) == 1


async def test_a_run_is_interrupted_once(runs: StoredRuns, store: Store) -> None:
    """By one of those who find it; its tokens are one row of the ledger, where its pipeline keeps one."""
    await runs.begin(new())
    await runs.begin(new("r2", in_ledger=False))
    await runs.keep("here", [batch(1, 3, is_sent=True, prompt_tokens=7, completion_tokens=2), batch(1, 1, "r2")])
    found = await runs.under_way()
    assert await runs.under_way(but="here") == ()
    ended = await asyncio.gather(*(runs.interrupt(run, b"gone", None) for run in found * 5))
    assert ended.count(True) == 2
    [row] = await store.usage()
    assert (row.outcome, row.attempts, row.requests, row.prompt_tokens, row.completion_tokens) == (
        "interrupted", 1, 1, 7, 2
    )  # fmt: skip
    assert await runs.events("r1", 3) == ((4, 4, b"gone"),)


async def test_a_run_that_goes_on_is_not_interrupted(runs: StoredRuns) -> None:
    """Its beat has risen since it was looked at."""
    await runs.begin(new())
    [before] = await runs.under_way()
    [beat] = await runs.beat("here")
    assert (beat.id, beat.readers, beat.is_asked_to_end) == ("r1", 0, False)
    assert not await runs.interrupt(before, b"gone", None)


async def test_a_server_hears_of_readers_and_of_who_ends_a_run(runs: StoredRuns) -> None:
    """With its next beat."""
    await runs.begin(new())
    await runs.note_reader("r1")
    await runs.ask_to_end("r1")
    [beat] = await runs.beat("here")
    assert (beat.readers, beat.is_asked_to_end) == (1, True)


async def test_only_a_run_that_has_ended_is_deleted(runs: StoredRuns) -> None:
    """And only by its owner."""
    await runs.begin(new())
    await runs.delete("r1", owner="ann")
    await runs.keep("here", [batch(1, 1, state="completed")])
    await runs.delete("r1", owner="bob")
    assert (await runs.get("r1", owner="ann")).state == "completed"
    await runs.delete("r1", owner="ann")
    with pytest.raises(UsageError):
        await runs.get("r1", owner="ann")


async def test_a_viewer_sees_runs_of_the_same_eyes(runs: StoredRuns) -> None:
    """Until its answer is there nobody knows what it is made of; what one that sees all has asked tells more."""
    viewer = Viewer(groups=frozenset({"group:hr"}))
    await runs.begin(new("all"))
    await runs.begin(new("hr", viewer=describe_viewer(viewer)))
    assert (await runs.get("hr", owner="ann", viewer=viewer)).id == "hr"
    assert (await runs.get("hr", owner="ann")).id == "hr"
    for id, other in (("all", viewer), ("hr", evolve(viewer, groups=frozenset()))):
        with pytest.raises(UsageError):
            await runs.get(id, owner="ann", viewer=other)
