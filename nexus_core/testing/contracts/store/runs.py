"""The store suite on runs at rest: what is kept of them, by whom they are written, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import define, evolve

from nexus_core.contract.errors import UsageError
from nexus_core.contract.run_context import Viewer
from nexus_core.store.conversations.turn_sources import sources_json
from nexus_core.store.runs import KEEP_S, NewRun, RunBatch, StoredRuns, describe_viewer
from nexus_core.store.store import Store
from nexus_core.testing.contracts.store.opening import StoreSuite
from nexus_core.testing.contracts.suite import looped


@define
class _Clock:
    """A clock that a test sets."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def new_run(id: str = "r1", **more: Any) -> NewRun:
    """Return a run of ann's that begins."""
    told: dict[str, Any] = {
        "id": id, "owner": "ann", "idempotency": None, "fingerprint": "f", "api": "queries", "viewer": None,
        "pipeline": "own", "context": None, "model": "main", "model_id": "fake-1", "background": False,
        "in_ledger": True, "created": 990.0, "server": "here",
    }  # fmt: skip
    told["sources"] = sources_json([*filter(None, [more.get("context")])], (), ())
    return NewRun(**{**told, **more})


def _batch(first: int, last: int, id: str = "r1", **more: Any) -> RunBatch:
    return RunBatch(id=id, first_event=first, last_event=last, data=f"{first}\0{last}".encode(), **more)


class RunTests(StoreSuite):
    """Runs, and the events of their streams."""

    @asynccontextmanager
    async def _runs(self, clock: _Clock) -> AsyncIterator[tuple[Store, StoredRuns]]:
        async with self._store() as store:
            yield store, StoredRuns(store._threads, clock)

    @looped
    async def test_events_are_kept_in_their_order(self) -> None:
        """From the one on that holds the next event; what makes room is gone.

        Fix: keep bytes with NUL as they are.
        """
        async with self._runs(_Clock()) as (_, runs):
            await runs.begin(new_run())
            for first in (1, 5, 9):
                assert await runs.keep("here", [_batch(first, first + 3)]) == ()
            assert await runs.events("r1", 5) == ((5, 8, b"5\x008"), (9, 12, b"9\x0012"))
            await runs.keep("here", [_batch(13, 13, oldest_event=9)])
            assert [first for first, _, _ in await runs.events("r1", 0)] == [9, 13]
            assert (await runs.get("r1", owner="ann")).events == 13

    @looped
    async def test_a_name_stands_for_one_run_of_its_owner(self) -> None:
        """Until it has expired, also where many come together; each owner has names of their own.

        Fix: enforce `UNIQUE` with `ON CONFLICT DO NOTHING`, where NULL is equal to nothing.
        """
        clock = _Clock()
        async with self._runs(clock) as (_, runs):
            together = await asyncio.gather(*(runs.begin(new_run(f"r{n}", idempotency="k")) for n in range(20)))
            assert len({run.id for run in together}) == 1
            assert (await runs.begin(new_run("b1", idempotency="k", owner="bob"))).id == "b1"
            assert [(await runs.begin(new_run(f"n{number}"))).id for number in range(2)] == ["n0", "n1"]
            await runs.keep("here", [_batch(1, 1, together[0].id, state="completed")])
            clock.now += KEEP_S
            assert (await runs.begin(new_run("r40", idempotency="k"))).id == "r40"

    @looped
    async def test_a_run_is_its_owner_s_until_it_expires_or_is_deleted(self) -> None:
        """Then it is not there, with its events; one that is under way is not deleted.

        Fix: delete with `RETURNING`, and enforce `ON DELETE CASCADE`.
        """
        clock = _Clock()
        async with self._runs(clock) as (_, runs):
            for id in ("r1", "r2"):
                await runs.begin(new_run(id))
                await runs.delete(id, owner="ann")
                with pytest.raises(UsageError, match=f"no run '{id}'"):
                    await runs.get(id, owner="bob")
                await runs.keep("here", [_batch(1, 1, id, state="completed")])
            await runs.delete("r2", owner="bob")
            await runs.delete("r2", owner="ann")
            with pytest.raises(UsageError):
                await runs.get("r2", owner="ann")
            assert await runs.expire() == 0
            clock.now += KEEP_S
            with pytest.raises(UsageError, match="expired"):
                await runs.get("r1", owner="ann")
            assert (await runs.expire(), await runs.events("r1", 0)) == (1, ())

    @looped
    async def test_a_run_ends_once(self) -> None:
        """By one of those who find it; nobody writes to it then, and its tokens are one row of the ledger.

        Fix: let one transaction write at a time, and tell in `RETURNING` the rows that were changed.
        """
        async with self._runs(_Clock()) as (store, runs):
            await runs.begin(new_run())
            await runs.begin(new_run("r2", in_ledger=False))
            assert await runs.keep("elsewhere", [_batch(1, 1)]) == ("r1",)
            await runs.keep(
                "here", [_batch(1, 3, is_sent=True, prompt_tokens=7, completion_tokens=2), _batch(1, 1, "r2")]
            )
            found = await runs.under_way()
            assert await runs.under_way(but="here") == ()
            ended = await asyncio.gather(*(runs.interrupt(run, b"gone", None) for run in found * 5))
            assert ended.count(True) == 2
            [row] = await store.usage()
            assert (row.outcome, row.attempts, row.requests, row.prompt_tokens, row.completion_tokens) == (
                "interrupted", 1, 1, 7, 2
            )  # fmt: skip
            assert await runs.events("r1", 3) == ((4, 4, b"gone"),)
            assert await runs.keep("here", [_batch(4, 5)]) == ("r1",)
            assert await runs.beat("here") == ()

    @looped
    async def test_a_run_that_goes_on_is_heard_of(self) -> None:
        """Its beat rises, so that nobody ends it; with it the server hears of readers, and of who ends it.

        Fix: `UPDATE ... RETURNING` gives the values after the change.
        """
        async with self._runs(_Clock()) as (_, runs):
            await runs.begin(new_run())
            [before] = await runs.under_way()
            await runs.note_reader("r1")
            await runs.ask_to_end("r1")
            [beat] = await runs.beat("here")
            assert (beat.id, beat.readers, beat.is_asked_to_end) == ("r1", 1, True)
            assert not await runs.interrupt(before, b"gone", None)

    @looped
    async def test_a_viewer_sees_runs_of_the_same_eyes(self) -> None:
        """Until its answer is there nobody knows what it is made of; what one that sees all has asked tells more.

        Fix: keep texts as they are.
        """
        async with self._runs(_Clock()) as (_, runs):
            viewer = Viewer(groups=frozenset({"group:hr"}))
            await runs.begin(new_run("all"))
            await runs.begin(new_run("hr", viewer=describe_viewer(viewer)))
            assert (await runs.get("hr", owner="ann", viewer=viewer)).id == "hr"
            assert (await runs.get("hr", owner="ann")).id == "hr"
            for id, other in (("all", viewer), ("hr", evolve(viewer, groups=frozenset()))):
                with pytest.raises(UsageError):
                    await runs.get(id, owner="ann", viewer=other)
