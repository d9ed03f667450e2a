"""The sink `otel`: traces and metrics of runs by OpenTelemetry's conventions for generative models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from nexus_core import AttemptFinished, Event, component, hookimpl, option, state
from nexus_metrics.libraries import require

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from nexus_core import Pipeline
    from nexus_metrics.providers import Providers

_log = logging.getLogger(__name__)
_NAME = "nexus"


@component
class Otel:
    """Tells OpenTelemetry of runs: a trace of each, with a span per attempt, and metrics of tokens and times."""

    endpoint: str | None = option(
        None,
        help="Where OTLP over HTTP is taken, such as http://localhost:4318; without it the process's own providers.",
        pattern="https?://.+",
    )
    service: str = option("contextnexus", help="The name of the service that the endpoint is told.")
    content: bool = option(False, help="Put queries and answers into spans, if the pipeline says `content: true`, too.")
    traces: bool = option(True, help="Tell of traces.")
    metrics: bool = option(True, help="Tell of metrics.")

    pipeline: Pipeline | None = state()
    """Given by the pipeline that opens the sink."""
    _own: Providers | None = state()
    """Those that send to the endpoint."""
    _takes: dict[str, tuple[Callable[[Any], None], ...]] | None = state()
    _close: Callable[[], None] | None = state()

    def __attrs_post_init__(self) -> None:
        needed = ["opentelemetry.trace"]
        if self.endpoint is not None:
            needed += ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"]
        require("otel", "otel", *needed)

    @property
    def hears(self) -> tuple[str, ...]:
        """The types of events that are told of."""
        runs = ("run_started", "prompt_packed", "run_finished", "run_failed") if self.traces else ()
        return (*runs, "attempt_finished")

    async def __aenter__(self) -> Self:
        """Take the providers of the process, or make those that send to the endpoint."""
        if self.endpoint is not None:
            from nexus_metrics.providers import Providers

            self._own = await asyncio.to_thread(Providers, self.endpoint, self.service)
            self._begin(self._own.tracer_provider, self._own.meter_provider)
        else:
            from opentelemetry import metrics, trace

            self._begin(trace.get_tracer_provider(), metrics.get_meter_provider())
            if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
                _log.warning(
                    "the sink otel sends nothing: set its `endpoint`, or set up OpenTelemetry in this process, "
                    "such as by `opentelemetry-instrument nexus serve`"
                )
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what is unfinished, and send what is left to an endpoint of the sink's own."""
        if self._close is not None:
            self._close()
        self._close = self._takes = None
        if self._own is not None:
            own, self._own = self._own, None
            if not await asyncio.to_thread(own.shutdown):
                _log.warning("the sink otel gave up: its endpoint took too long for what was left to send")

    def emit(self, event: Event) -> None:
        """Tell of one event."""
        if self._takes is None:
            raise RuntimeError("the sink otel is not open")
        for take in self._takes.get(event.type, ()):
            take(event)

    def flush(self) -> None:
        """Do nothing: OpenTelemetry sends in batches, by settings of its own."""

    def _begin(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        from nexus_metrics.meters import Meters
        from nexus_metrics.traces import Traces

        targets = Targets(self.pipeline)
        told = Traces(tracers.get_tracer(_NAME), targets, content=self.content)
        measured = Meters(meters.get_meter(_NAME), targets)
        takes: dict[str, list[Callable[[Any], None]]] = {}
        if self.traces:
            takes = {
                "run_started": [told.started],
                "prompt_packed": [told.packed],
                "attempt_finished": [told.attempted],
                "run_finished": [told.finished],
                "run_failed": [told.failed],
            }
        if self.metrics:
            takes.setdefault("attempt_finished", []).append(measured.attempted)
        self._takes = {name: tuple(found) for name, found in takes.items()}
        self._close = told.close


def operation(row: AttemptFinished) -> str:
    """Return what an attempt was for, as the conventions name it."""
    return {"embed": "embeddings", "rerank": "rerank"}.get(row.purpose, "chat")


class Targets:
    """The models of a pipeline as the conventions name them."""

    def __init__(self, pipeline: Pipeline | None) -> None:
        infos = () if pipeline is None else ((model.name, model.info) for model in pipeline.models.targets())
        self._known = {name: (info.provider, info.id) for name, info in infos}

    def model_id(self, name: str, told: str) -> str:
        """Return the model that is asked, as its service calls it."""
        return self._known[name][1] if name in self._known else told

    def attributes(self, row: AttemptFinished) -> Mapping[str, Any]:
        """Return the attributes that spans and metrics of an attempt share."""
        found = {
            "gen_ai.operation.name": operation(row),
            "gen_ai.provider.name": self._known.get(row.model, ("unknown", ""))[0] or "unknown",
            "gen_ai.request.model": self.model_id(row.model, row.model_id),
        }
        if row.answered_by is not None:
            found["gen_ai.response.model"] = row.answered_by
        if row.outcome != "ok":
            found["error.type"] = row.outcome
        return found


@hookimpl
def nexus_sinks() -> list[type]:
    """Yield the sink."""
    return [Otel]
