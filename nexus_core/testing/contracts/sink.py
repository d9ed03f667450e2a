"""The sink suite: takes every event, also many and from another thread, and fails in a way that touches no run.

class TestLines(SinkContract):
    def make(self, folder):
        return Lines(path=str(folder / "runs.log"))
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from nexus_core.contract.answers import AttemptFinished, Event, ToolFinished
from nexus_core.contract.errors import ServerError
from nexus_core.contract.events import (
    PromptPacked,
    QueryExpanded,
    RunFailed,
    RunFinished,
    RunStarted,
    StepFinished,
    StreamRestarted,
    ToolRoundFinished,
    Waiting,
)
from nexus_core.contract.protocols import Sink
from nexus_core.engine.sinks import Fanout, SinkQueue
from nexus_core.testing.contracts.suite import Contract, opened, run
from nexus_core.testing.fakes import RaisingSink, SlowSink
from nexus_core.testing.watching import resource_warnings

CONTENT = 'content-7b2f40: ünïcödé ⛵ 字 "quoted" \u2028 \x1b[2J\nsecond line'
"""What stands in the fields named `content` where a pipeline has switched them on."""
_MARK = "content-7b2f40"
_FEW, _MANY = 500, 5000
_SLOWEST = 40.0
_TRIES = 3


def one_of_each(run_id: str = "run-1", content: str | None = None) -> tuple[Event, ...]:
    """Return an event of every type that sinks receive, in the order of a run."""
    return (
        RunStarted(run_id=run_id, time=1.5, pipeline="handbook", content=content),
        QueryExpanded(run_id=run_id, time=1.8, step=0, by="feedback", searches=1, added=2, duration_s=0.01),
        StepFinished(run_id=run_id, time=2.0, step=0, verb="gather", skipped=False, duration_s=0.25, items=3),
        PromptPacked(
            run_id=run_id, time=2.5, call_id="c1", model="main", window=8192, reserved=512, tokens_at_most=900,
            prompt_tokens=None, context_tokens=None, kept=2, candidates=3, duration_s=0.001,
        ),
        Waiting(run_id=run_id, time=2.6, call_id="c1", model="main", why="rate_limit", wait_s=0.5),
        AttemptFinished(
            run_id=run_id, time=3.0, call_id="c1", number=1, model="main", model_id="m-1", outcome="server_error",
            status=500, code="internal", error="the service refused with status 500", duration_s=0.5,
        ),
        StreamRestarted(run_id=run_id, time=3.1, call_id="c1", model="main", kind="truncated"),
        AttemptFinished(run_id=run_id, time=4.0, call_id="c1", number=2, model="spare", model_id="m-2", outcome="ok"),
        ToolFinished(
            run_id=run_id, time=4.2, call_id="c1", round=1, number=1, name="search", outcome="ok", duration_s=0.1,
            items=2, tokens=80, arguments=content, result=content,
        ),
        ToolRoundFinished(run_id=run_id, time=4.3, call_id="c1", round=1, calls=1, content=content),
        RunFinished(
            run_id=run_id, time=4.5, duration_s=3.0, model="spare", prompt_tokens=7, completion_tokens=None,
            content=content,
        ),
        RunFailed(
            run_id=run_id, time=5.0, duration_s=3.5, kind="server_error", message="every model failed", partial=content,
            error=ServerError(f"not for sinks: {_MARK}"),
        ),
    )  # fmt: skip


class SinkContract(Contract):
    """Holds a sink to the contract; a subclass defines `make`."""

    hooks = frozenset({"absent", "make", "make_broken", "written"})
    capabilities: ClassVar[Mapping[str, str]] = {
        "written": "what the sink has put out can be read here",
        "failure": "what the sink writes to can fail, and then it raises",
    }

    @pytest.fixture(autouse=True)
    def _in(self, tmp_path: Path) -> None:
        """Give each test a folder of its own."""
        self._folder = tmp_path

    def make(self, folder: Path) -> Sink:
        """Return a sink that writes into an empty folder, or to a fake of its service."""
        raise AssertionError("define make(self, folder): return your sink")

    def make_broken(self, folder: Path) -> Sink:
        """Return a sink that cannot write; by default one whose folder is a file."""
        blocked = folder / "blocked"
        blocked.write_bytes(b"")
        return self.make(blocked)

    def written(self, folder: Path) -> str:
        """Return all that the sink of `make` has put out; by default what stands in the files of the folder."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return "\n".join(path.read_text("utf-8", "replace") for path in files)

    def _emitted(self, events: Sequence[Event]) -> None:
        async def emit() -> None:
            async with opened(self.make(self._folder)) as sink:
                for event in events:
                    sink.emit(event)
                sink.flush()

        run(emit())

    def test_it_is_a_sink(self) -> None:
        """It has `emit(event)` and `flush()`.

        Fix: write both; a sink that holds nothing back has an empty `flush`.
        """
        assert isinstance(self.make(self._folder), Sink), "a sink has `emit(event)` and `flush()`"

    def test_every_event_is_taken(self) -> None:
        """Every type of event is taken, with content and without, and what is unknown (`None`) is no error.

        Fix: read no field that only some events have; expect further types of event in later versions.
        """
        self._emitted((*one_of_each(), *one_of_each(content=CONTENT)))

    def test_flush_makes_it_last(self) -> None:
        """After `flush` every run that was told of can be found, before the sink is closed.

        Fix: write what is held back. Absent: `written`, where the suite cannot look.
        """
        self._needs("written")
        self._check_written()

    def _check_written(self) -> None:
        async def look() -> str:
            async with opened(self.make(self._folder)) as sink:
                for number in range(3):
                    sink.emit(one_of_each(f"run-{number}")[7])
                sink.flush()
                return self.written(self._folder)

        text = run(look())
        missing = [f"run-{number}" for number in range(3) if f"run-{number}" not in text]
        assert not missing, f"after flush there is nothing of {missing}; define written(folder) if it is elsewhere"

    def test_flush_of_nothing_is_no_error(self) -> None:
        """`flush` without an event before it, and twice in a row, does nothing.

        Fix: mind that nothing may be held back.
        """
        self._emitted(())
        self._emitted(())

    def test_nothing_is_shown_while_content_is_off(self) -> None:
        """Without content in the events there is none in what the sink writes; an error object is never written.

        Fix: write the fields of the event but `answer` and `error`. Absent: `written`.
        """
        self._needs("written")
        self._emitted(one_of_each())
        assert _MARK not in self.written(self._folder), "`error` (or `answer`) of an event was written: leave it out"

    def test_many_events_take_their_share_of_time(self) -> None:
        """Ten times as many events take ten times as long or so.

        Fix: append; do not read or write anew what is there.
        """
        few, many = min(self._cost(_FEW) for _ in range(_TRIES)), self._cost(_MANY)
        for _ in range(_TRIES - 1):
            if many > _SLOWEST * max(few, 0.005):  # once may be an accident: what grows with the square is no accident
                many = min(many, self._cost(_MANY))
        assert many <= _SLOWEST * max(few, 0.005), (
            f"{_MANY} events took {many:.3f} s of processor, {_FEW} took {few:.3f}"
        )

    def _cost(self, count: int) -> float:
        begun = time.process_time()
        self._emitted(one_of_each()[:1] * count)
        return time.process_time() - begun

    def test_events_come_from_another_thread(self) -> None:
        """Events come from a thread of the sink's own, in order, flushed now and then, and none fails.

        Fix: need no event loop in `emit` and `flush`, and nothing that belongs to the thread that made the sink.
        """
        run(self._queued(()))

    def test_slow_and_failing_neighbours_do_not_matter(self) -> None:
        """Beside a sink that is slow and one that raises at every event, all events arrive.

        Fix: share nothing with other sinks.
        """
        run(self._queued((SlowSink(seconds=0.001), RaisingSink())))

    async def _queued(self, neighbours: Sequence[Sink]) -> None:
        async with opened(self.make(self._folder)) as sink:
            queue = SinkQueue("suite", sink)
            fanout = Fanout([queue, *(SinkQueue(f"neighbour-{n}", other) for n, other in enumerate(neighbours))])
            for number in range(20):
                for event in one_of_each(f"run-{number}"):
                    fanout.put(event)
            fanout.close()
        assert (queue.failed, queue.dropped) == (0, 0), f"{queue.failed} events failed, {queue.dropped} were dropped"
        if "written" not in self.absent:
            text = self.written(self._folder)
            places = [text.find(f"run-{number}") for number in range(20)]
            assert -1 not in places, "an event did not arrive"
            assert places == sorted(places), "the events are not in their order"

    def test_failure_is_raised(self) -> None:
        """What cannot be written raises an ordinary error, when the sink is opened or at an event; then it is counted.

        Fix: swallow nothing, and leave retries out: the queue counts what fails and goes on. Absent: `failure`.
        """
        self._needs("failure")
        self._check_failure()

    def _check_failure(self) -> None:
        async def fail() -> None:
            async with opened(self.make_broken(self._folder)) as sink:
                for event in one_of_each():
                    sink.emit(event)
                sink.flush()

        try:
            run(fail())
        except Exception as error:  # noqa: BLE001 - any ordinary error will do
            raised = error
        else:
            raise AssertionError(
                "nothing can be written and nothing is raised; define make_broken(folder), or declare absent['failure']"
            )
        assert _MARK not in str(raised), "the error shows what was to be written"

    def test_sink_leaves_nothing_behind(self) -> None:
        """Closed, it leaves no open file or socket; it can be opened again, and what it had written is still there.

        Fix: close in `__aexit__` what `__aenter__` opened; append.
        """
        with resource_warnings() as told:
            for number in range(2):
                self._emitted(one_of_each(f"run-{number}"))
        assert not told, "thrown away without being closed: " + "; ".join(told)
        if "written" not in self.absent:
            assert "run-0" in self.written(self._folder), "opened again, the sink has lost what it had written before"
