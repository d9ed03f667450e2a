"""Events to sinks, off the hot path: a bounded queue and a thread per sink, and a count of what had to be dropped.

A run only appends to a queue. The thread wakes at most 50 times a second, so that a burst of events costs one switch of
threads and not one each; a slow sink fills its own queue and nothing else.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from nexus_core.contract.answers import Event, ToolFinished
from nexus_core.contract.components import Kind, injected_fields
from nexus_core.contract.errors import PluginError, describe_error
from nexus_core.contract.events import RunFailed, RunFinished, RunStarted, ToolRoundFinished
from nexus_core.contract.optional_protocols import ContentSink, FilteringSink
from nexus_core.contract.protocols import Sink

QUEUE_SIZE = 10_000
"""Events a sink may lag behind before new ones are dropped."""
BATCH_PAUSE_S = 0.02
CLOSE_TIMEOUT_S = 5.0

if TYPE_CHECKING:
    from nexus_core.config.components import PluginCatalog
    from nexus_core.engine.lifecycle import ComponentLifecycle

_log = logging.getLogger(__name__)

_ENDPOINTS = tuple(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", "TRACES_", "METRICS_"))
"""Where the standard variables of OpenTelemetry name one, its sink is there without a word in the pipeline."""


class SinkQueue:
    """The queue of one sink, and the thread that empties it."""

    def __init__(self, name: str, sink: Sink, size: int = QUEUE_SIZE, *, content: bool = True) -> None:
        self.name = name
        self.content = content or (isinstance(sink, ContentSink) and sink.wants_content)
        """Whether the sink is given queries and answers."""
        self.dropped = 0
        """Events that found the queue full."""
        self.failed = 0
        """Events (or flushes) at which the sink raised."""
        self.hears: frozenset[str] | None = _heard_by(sink)
        """The types of events that the sink wants; `None` is all."""
        self._sink = sink
        self._size = size
        self._events: deque[Event] = deque()
        self._wake = threading.Event()
        self._awake = False
        """Whether the thread was woken and has not looked since: a flag costs a run less than a look at the event."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"nexus-sink-{name}", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Queue an event that the sink wants, or drop it and count that; never waits."""
        if self.hears is not None and event.type not in self.hears:
            return
        if len(self._events) >= self._size:
            self.dropped += 1
            return
        self._events.append(event if self.content else _without_content(event))
        if not self._awake:
            self._awake = True
            self._wake.set()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Let the sink take what is queued, for at most `timeout_s`, and end its thread; blocks."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.dropped += len(self._events)
        if self.dropped or self.failed:
            _log.warning("sink %s: %d events dropped, %d failures", self.name, self.dropped, self.failed)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._closing.wait(BATCH_PAUSE_S)
            self._wake.clear()
            self._awake = False  # in this order: whoever puts an event in between finds that the thread looks anyway
            ended = self._closing.is_set()
            self._drain()
            if ended and not self._events:
                return

    def _drain(self) -> None:
        if not self._events:
            return
        emit, events = self._sink.emit, self._events
        while events:
            try:
                if (promised := emit(events.popleft())) is not None:
                    _check_done(promised)
            except BaseException as error:  # noqa: BLE001 - foreign code; its failure is counted and touches no run
                self._failed(error)
        try:
            _check_done(self._sink.flush())  # type: ignore[func-returns-value]
        except BaseException as error:  # noqa: BLE001 - as above; a thread is neither cancelled nor interrupted
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self.failed += 1
        if self.failed == 1:
            _log.warning("sink %s failed: %s (further failures are only counted)", self.name, describe_error(error))


_TELLING = frozenset((RunStarted, RunFinished, RunFailed, ToolRoundFinished, ToolFinished))
"""Types of events that may hold what was asked and answered; all others are looked at no further."""


def _without_content(event: Event) -> Event:
    """Return an event as a sink gets it that is not to see what was asked and answered."""
    if type(event) not in _TELLING:
        return event
    match event:
        case RunStarted(content=str()) | RunFinished(content=str()):
            return evolve(event, content=None)
        case RunFailed(partial=str()):
            return evolve(event, partial=None)
        case ToolRoundFinished():
            return evolve(event, content=None)
        case ToolFinished():
            return evolve(event, arguments=None, result=None, trace=())
    return event


def _heard_by(sink: Sink) -> frozenset[str] | None:
    wanted = sink.hears if isinstance(sink, FilteringSink) else None
    if wanted is None:
        return None
    if isinstance(wanted, str):
        raise TypeError(f"`hears` must be a collection of types of events, not the text {wanted!r}")
    return frozenset(wanted)


def _check_done(result: object) -> None:
    """Raise where a sink that should have taken an event has only promised to."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("`emit` and `flush` must be plain functions: what they return is never awaited")


def sinks_of_environment(
    variables: Mapping[str, str], declared: Collection[str], catalogue: PluginCatalog, resources: ComponentLifecycle
) -> Sequence[tuple[str, Sink]]:
    """Return the sinks that variables ask for and a pipeline does not have: `otel`, where they name an endpoint.

    Where its library is missing a warning says so: a cluster may set these variables for all that run in it.
    """
    disabled = variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or "otel" in declared or not any(variables.get(name, "").strip() for name in _ENDPOINTS):
        return ()
    try:
        sink = catalogue.component(Kind.SINK, "otel")()
        if "shared" in injected_fields(type(sink)):
            sink.shared = resources.shared
        return (("otel", sink),)
    except (PluginError, ValueError) as error:
        _log.warning("nothing is sent to OpenTelemetry, whose variables name an endpoint: %s", error)
        return ()


class Fanout:
    """All sinks of a pipeline."""

    def __init__(self, queues: Sequence[SinkQueue] = ()) -> None:
        self.queues = tuple(queues)
        self.hears_steps = any(queue.hears is None or "step_finished" in queue.hears for queue in self.queues)
        """Whether any sink wants to know of steps that are done: else these events are not made."""
        self.content = any(queue.content for queue in self.queues)
        """Whether any sink is given queries and answers."""

    def put(self, event: Event) -> None:
        """Queue an event for every sink."""
        for queue in self.queues:
            queue.put(event)

    def close(self) -> None:
        """Close every queue; blocks for at most CLOSE_TIMEOUT_S each."""
        for queue in self.queues:
            queue.close()
