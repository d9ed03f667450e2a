"""What models use, summed up by day: right, bounded, and no business of any run."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from nexus_store.usage import StoreSink

from nexus_core import AttemptFinished, DailyUsage, RunFinished, RunStarted, Sink, Store, UsageError
from nexus_core.engine.sinks import SinkQueue
from nexus_core.store import usage
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.usage import OTHERS
from nexus_core.testing import SinkContract

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


def attempt(**fields: Any) -> AttemptFinished:
    told = {
        "run_id": "r",
        "time": NOW,
        "call_id": "c",
        "number": 1,
        "model": "main",
        "model_id": "m-1",
        "outcome": "ok",
    }
    return AttemptFinished(**{**told, **fields})


def row(pipeline: str = "handbook", **fields: Any) -> DailyUsage:
    return DailyUsage.of(pipeline, attempt(**fields))


async def added(store: Store, *rows: DailyUsage, now: float = NOW, keep_days: int = 400) -> tuple[DailyUsage, ...]:
    await store.write(usage.add, rows, now, keep_days)
    return await store.usage()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "store") as opened:
        yield opened


async def test_rows_of_one_day_and_name_are_one(store: Store) -> None:
    """Sums of sums: it makes no difference in how many portions they come."""
    first = row(prompt_tokens=10, completion_tokens=4, cached_tokens=8, duration_s=0.5)
    await added(store, first, row(prompt_tokens=5, completion_tokens=None, usage_source="estimated", duration_s=1.0))
    (found,) = await added(store, row(outcome="ok", request_sent=False, prompt_tokens=1, reasoning_tokens=2))
    assert (found.day, found.pipeline, found.model, found.model_id, found.outcome) == (
        "2026-11-23", "handbook", "main", "m-1", "ok",
    )  # fmt: skip
    assert (found.attempts, found.requests, found.unreported, found.estimated) == (3, 2, 1, 1)
    assert (found.prompt_tokens, found.completion_tokens) == (16, 4)
    assert (found.reasoning_tokens, found.cached_tokens, found.duration_s) == (2, 8, 1.5)


async def test_other_days_pipelines_models_and_outcomes_are_told_apart(store: Store) -> None:
    """And a caller asks for those from a day on."""
    others: list[dict[str, Any]] = [
        {"time": NOW - DAY},
        {"model": "spare"},
        {"model_id": "m-2"},
        {"outcome": "timeout"},
    ]
    await added(store, row(), row("tickets"), *(row(**other) for other in others))
    assert len(await store.usage()) == 6
    assert len(await store.usage(since="2026-11-23")) == 5
    assert next(found.day for found in await store.usage()) == "2026-11-22"


async def test_old_days_are_dropped(store: Store) -> None:
    """The table holds so many days and no more, however long it is written to (fault 167)."""

    def daily(connection: SqlConnection) -> None:
        for day in range(410):
            usage.add(connection, [row(time=NOW + day * DAY)], NOW + day * DAY, 30)

    await store.write(daily)
    days = [found.day for found in await store.usage()]
    assert (len(days), days[0]) == (31, "2027-12-07")


async def test_costs_are_summed_up_apart_from_requests_of_unknown_cost(store: Store) -> None:
    """Where none is known there is no cost, and never one of 0; what was not sent is neither."""
    rows = [row(cost=0.25), row(cost=None), row(cost=0.5, outcome="truncated"), row(cost=None, request_sent=False)]
    found = {each.outcome: each for each in await added(store, *rows, row(outcome="timeout"))}
    assert (found["ok"].known_cost, found["ok"].requests, found["ok"].unpriced) == (0.25, 2, 1)
    assert (found["truncated"].known_cost, found["timeout"].known_cost) == (0.5, None)


async def test_a_day_has_so_many_rows_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that calls itself by another name in every answer fills no disk; nothing is lost of the sums."""
    monkeypatch.setattr(usage, "MOST_ROWS_OF_A_DAY", 5)
    found = await added(store, *(row(model_id=f"m-{number}") for number in range(50)), row(model_id="m-0"))
    assert len(found) == 6
    assert {each.model_id: each.attempts for each in found} == {
        OTHERS: 45, "m-0": 2, "m-1": 1, "m-2": 1, "m-3": 1, "m-4": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"model_id": "m" * 10_000}, id="long"),
        pytest.param({"model_id": "a\ud83d\0'; --"}, id="no-text"),
        pytest.param({"prompt_tokens": 10**30, "completion_tokens": -5}, id="absurd-counts"),
        pytest.param({"cost": 1e300}, id="absurd-cost"),
    ],
)
async def test_whatever_a_service_says_can_be_summed_up(store: Store, fields: dict[str, Any]) -> None:
    """Names are cut, counts are bounded, and no row stops the others (fault 163)."""
    found = await added(store, row(), *(row(**fields) for _ in range(3)))
    assert sum(each.attempts for each in found) == 4
    assert all(len(each.model_id) <= 200 and each.completion_tokens >= 0 for each in found)


async def test_a_day_that_is_none_is_refused(store: Store) -> None:
    """Rather than taken for one that is before all others."""
    with pytest.raises(UsageError, match="write it as in 2026-11-23"):
        await store.usage(since="last week")


# The sink


class TestStoreSink(SinkContract):
    absent: ClassVar[Mapping[str, str]] = {"written": "a sum tells nothing of a single run"}

    def make(self, folder: Path) -> Sink:
        return StoreSink(path=str(folder / "store"), keep_days=36_500)

    def make_broken(self, folder: Path) -> Sink:
        (folder / "blocked").write_bytes(b"")
        return StoreSink(path=str(folder / "blocked"))


def events(run: int, pipeline: str = "handbook", attempts: int = 2) -> list[Any]:
    name = f"r{run}"
    return [
        RunStarted(run_id=name, time=NOW, pipeline=pipeline),
        *(attempt(run_id=name, number=number + 1, prompt_tokens=7, completion_tokens=3) for number in range(attempts)),
        RunFinished(run_id=name, time=NOW, duration_s=1.0, model="main", prompt_tokens=7, completion_tokens=3),
    ]


def refused(folder: Path, statement: str) -> None:
    """Let the database refuse what the sink writes, or no longer."""
    connection = sqlite3.connect(folder / "store.db")
    connection.execute(statement)
    connection.close()


async def test_the_sink_loses_nothing_of_what_it_was_given(tmp_path: Path) -> None:
    """Through the engine's own queue: every attempt is in the sums when the sink is closed, under its pipeline."""
    async with StoreSink(path=str(tmp_path)) as sink:
        queue = SinkQueue("store", sink)
        for run in range(300):
            for event in events(run, "even" if run % 2 == 0 else "odd"):
                queue.put(event)
        queue.close()
    assert (queue.failed, queue.dropped) == (0, 0)
    async with Store(tmp_path) as store:
        found = {each.pipeline: (each.attempts, each.prompt_tokens) for each in await store.usage()}
    assert found == {"even": (300, 2100), "odd": (300, 2100)}


async def test_what_was_not_flushed_is_written_when_the_sink_is_closed(tmp_path: Path) -> None:
    """The last rows count, too."""
    async with StoreSink(path=str(tmp_path)) as sink:
        for event in events(1):
            sink.emit(event)
    async with Store(tmp_path) as store:
        assert [each.attempts for each in await store.usage()] == [2]


async def test_a_store_that_refuses_is_tried_again_and_nothing_is_lost(tmp_path: Path) -> None:
    """Each refusal is one failure of the sink; the rows wait, and are written when it is over (fault 158)."""
    async with StoreSink(path=str(tmp_path)) as sink:
        refused(tmp_path, "CREATE TRIGGER refuse BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'refused'); END")
        queue = SinkQueue("store", sink)
        for event in events(1):
            queue.put(event)
        queue.close()
        assert queue.failed >= 1
        refused(tmp_path, "DROP TRIGGER refuse")
    async with Store(tmp_path) as store:
        assert [each.attempts for each in await store.usage()] == [2]


@pytest.mark.parametrize(("count", "lost"), [(1, "1 request is"), (2, "2 requests is")])
async def test_a_store_that_refuses_to_the_end_harms_nobody(
    count: int, lost: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing the pipeline raises nothing; the log tells how much is lost."""
    async with StoreSink(path=str(tmp_path)) as sink:
        refused(tmp_path, "CREATE TRIGGER refuse BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'refused'); END")
        for event in events(1, attempts=count):
            sink.emit(event)
    assert f"the usage of {lost} lost" in caplog.text


async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is the memory of runs whose end was dropped (fault 167)."""
    monkeypatch.setattr("nexus_store.usage._MOST_ROWS", 3)
    monkeypatch.setattr("nexus_store.usage._MOST_RUNS", 3)
    async with StoreSink(path=str(tmp_path)) as sink:
        for run in range(20):
            sink.emit(RunStarted(run_id=f"r{run}", time=NOW, pipeline="p"))
            sink.emit(attempt(run_id=f"r{run}", model_id=f"m-{run}"))
        assert (len(sink._pipelines), len(sink._waiting)) == (3, 4)
        assert sum(each.attempts for each in sink._waiting.values()) == 20
