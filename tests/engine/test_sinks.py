"""Events to sinks, off the hot path."""

from __future__ import annotations

import logging
import threading

import pytest

from nexus_core import Event, RunFinished, RunStarted
from nexus_core.engine.sinks import Fanout, SinkQueue
from nexus_core.testing.fakes import FakeSink


def started(number: int) -> Event:
    return RunStarted(run_id=str(number), time=0.0, pipeline="p")


class StuckSink:
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go, self.taken = threading.Event(), threading.Event(), 0

    def emit(self, event: Event) -> None:
        self.entered.set()
        self.let_go.wait(10)
        self.taken += 1

    def flush(self) -> None:
        self.entered.set()


class RaisingSink(FakeSink):
    """Fails at every event."""

    def emit(self, event: Event) -> None:
        super().emit(event)
        raise OSError("disk full")


def test_every_event_reaches_the_sink_in_order_and_is_flushed() -> None:
    """Closing waits for what is queued."""
    sink = FakeSink()
    queue = SinkQueue("fake", sink)
    for number in range(1000):
        queue.put(started(number))
    queue.close()
    assert [event.run_id for event in sink.events] == [str(number) for number in range(1000)]
    assert (queue.dropped, sink.flushed > 0) == (0, True)


def test_a_full_queue_drops_and_counts_instead_of_waiting() -> None:
    """A sink that stands still costs events of its own and nothing else (fault 108)."""
    sink = StuckSink()
    queue = SinkQueue("stuck", sink, size=10)
    queue.put(started(0))
    sink.entered.wait(10)
    for number in range(1, 21):
        queue.put(started(number))
    assert queue.dropped == 10
    sink.let_go.set()
    queue.close()
    assert sink.taken == 11


def test_a_raising_sink_is_counted_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failing sink gets every event all the same, and one line in the log, not one per event."""
    sink = RaisingSink()
    with caplog.at_level(logging.WARNING):
        queue = SinkQueue("raising", sink)
        for number in range(5):
            queue.put(started(number))
        queue.close()
    assert (queue.failed, len(sink.events)) == (5, 5)
    assert sum("disk full" in record.getMessage() for record in caplog.records) == 1


def test_close_gives_up_on_a_stuck_sink() -> None:
    """A sink that never returns cannot keep the process."""
    sink = StuckSink()
    queue = SinkQueue("stuck", sink)
    queue.put(started(0))
    queue.put(started(1))
    sink.entered.wait(10)
    queue.close(timeout_s=0.01)
    assert queue.dropped == 1
    sink.let_go.set()


class ChoosySink(FakeSink):
    """Wants the ends of runs alone."""

    hears = ("run_finished",)


def test_a_sink_gets_only_the_events_that_it_hears() -> None:
    """What a sink does not want never enters its queue, and steps that nobody wants are not even made."""
    sink = ChoosySink()
    fanout = Fanout([SinkQueue("choosy", sink)])
    fanout.put(started(1))
    fanout.put(
        RunFinished(run_id="1", time=0.0, duration_s=1.0, model=None, prompt_tokens=None, completion_tokens=None)
    )
    fanout.close()
    assert [event.type for event in sink.events] == ["run_finished"]
    assert not fanout.hears_steps


def test_fanout_gives_every_sink_every_event() -> None:
    """All sinks see the same events."""
    sinks = [FakeSink(), FakeSink()]
    fanout = Fanout([SinkQueue(str(place), sink) for place, sink in enumerate(sinks)])
    fanout.put(started(1))
    fanout.close()
    assert [len(sink.events) for sink in sinks] == [1, 1]
