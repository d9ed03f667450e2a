"""The sink `prometheus`: figures of a pipeline's runs, by Prometheus's own client library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import time
from typing import TYPE_CHECKING, Any, Self

from nexus_core import Event, component, hookimpl, injected, option, state
from nexus_metrics.metric_definitions import LIVE
from nexus_metrics.optional_imports import require

if TYPE_CHECKING:
    from prometheus_client import Metric

    from nexus_core import Pipeline
    from nexus_metrics.counters import RunCounters

_HEARD = (
    "run_started", "prompt_packed", "waiting", "attempt_finished", "stream_restarted", "tool_finished", "run_finished",
    "run_failed",
)  # fmt: skip
_STATES = ("closed", "open", "half_open", "parked")


@component
class Prometheus:
    """Keeps figures of runs for Prometheus; `nexus serve` shows them at `/metrics`."""

    steps: bool = option(False, help="Time also each step.")

    pipeline: Pipeline | None = injected()
    """Given by the pipeline that opens the sink."""
    _figures: RunCounters | None = state()

    def __attrs_post_init__(self) -> None:
        require("prometheus", "metrics", "prometheus_client")

    @property
    def hears(self) -> tuple[str, ...]:
        """The types of events that are counted."""
        return (*_HEARD, "step_finished") if self.steps else _HEARD

    async def __aenter__(self) -> Self:
        """Begin to count; what was counted before stays."""
        if self._figures is None:
            from nexus_metrics.counters import RunCounters  # imports the library

            self._figures = RunCounters()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Keep what was counted: a pipeline that is opened again goes on."""

    def emit(self, event: Event) -> None:
        """Count one event."""
        if self._figures is None:
            raise RuntimeError("the sink prometheus is not open")
        self._figures.record(event)

    def flush(self) -> None:
        """Do nothing: what was counted is there at once."""

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as Prometheus's client library takes them from a collector, with the label `pipeline`."""
        if self._figures is None:
            return
        name = self._figures.pipeline if self.pipeline is None else self.pipeline.name
        for family in (*self._figures.registry.collect(), *self._live(self._figures)):
            # When a figure began to be counted is told by the library for each of them, and would double the page.
            kept = [sample for sample in family.samples if not sample.name.endswith("_created")]
            family.samples = [sample._replace(labels={"pipeline": name, **sample.labels}) for sample in kept]
            yield family

    def _live(self, figures: RunCounters) -> Iterator[Metric]:
        """Yield what is looked up only now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        pipeline = self.pipeline
        states = {} if pipeline is None else pipeline.targets()
        found: dict[str, Iterable[tuple[tuple[str, ...], float]]] = {
            "nexus_runs_in_flight": [((), figures.in_flight(time()))],
            "nexus_breaker_state": [
                ((model, known), float(known == now)) for model, now in states.items() for known in _STATES
            ],
            "nexus_sink_dropped_events_total": [
                ((sink,), count) for sink, count in (pipeline.dropped_events if pipeline else {}).items()
            ],
        }
        for family in LIVE:
            made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric: Any = made(family.name, family.help, labels=family.labels)
            for labels, value in found[family.name]:
                metric.add_metric(labels, value)
            yield metric


@hookimpl
def nexus_sinks() -> list[type]:
    """Yield the sink."""
    return [Prometheus]
