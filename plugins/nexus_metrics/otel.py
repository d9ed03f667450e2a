"""The sink `otel`: traces and metrics of runs by OpenTelemetry's conventions for generative models."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from nexus_core import Event, TraceContext, component, hookimpl, injected, option, state
from nexus_core.toolkit import SharedResources
from nexus_metrics.optional_imports import require
from nexus_metrics.otel_variables import captures_content, is_configured

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from nexus_core import Pipeline
    from nexus_metrics.otel_providers import OtelProviders

_log = logging.getLogger(__name__)
_NAME = "nexus"


@component
class Otel:
    """Tells OpenTelemetry of runs: traces, with spans of steps and attempts, and metrics of tokens and times."""

    endpoint: str | None = option(
        None,
        help="Where OTLP over HTTP is taken, such as http://localhost:4318; without it the process's own providers, "
        "or what OTEL_EXPORTER_OTLP_ENDPOINT names.",
        pattern="https?://.+",
    )
    service: str = option("contextnexus", help="The name of the service that the endpoint is told.")
    content: bool = option(False, help="Put queries and answers into spans, if the pipeline says `content: true`, too.")
    traces: bool = option(True, help="Tell of traces.")
    metrics: bool = option(True, help="Tell of metrics.")

    pipeline: Pipeline | None = injected()
    """Given by the pipeline that opens the sink."""
    shared: SharedResources | None = injected()
    """Pipelines of one process send together."""
    _own: OtelProviders | None = state()
    """Those that send to the endpoint."""
    _takes: dict[str, tuple[Callable[[Any], None], ...]] | None = state()
    _close: Callable[[], None] | None = state()
    _key: tuple[str, str | None, str] | None = state()
    """Of the providers among what is shared."""

    def __attrs_post_init__(self) -> None:
        needed = ["opentelemetry.trace"]
        if self.endpoint is not None or is_configured():
            needed += ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"]
        require("otel", "otel", *needed)

    @property
    def hears(self) -> tuple[str, ...]:
        """The types of events that are told of."""
        runs = (
            ("run_started", "step_finished", "prompt_packed", "tool_finished", "run_finished", "run_failed")
            if self.traces
            else ()
        )
        return (*runs, "attempt_finished")

    async def __aenter__(self) -> Self:
        """Take the providers of the process, or make those that send to the endpoint."""
        from opentelemetry import metrics, trace

        proxied = isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        if self.endpoint is not None or (proxied and is_configured()):
            from nexus_metrics.otel_providers import OtelProviders

            self._key = ("otel", self.endpoint, self.service)
            self.shared = self.shared or SharedResources()
            self._own = self.shared.take(self._key, lambda: OtelProviders(self.endpoint, self.service))
            self._begin(self._own.tracer_provider, self._own.meter_provider)
        else:
            self._begin(trace.get_tracer_provider(), metrics.get_meter_provider())
            if proxied:
                _log.warning(
                    "the sink otel sends nothing: set its `endpoint` or OTEL_EXPORTER_OTLP_ENDPOINT, or set up "
                    "OpenTelemetry in this process, such as by `opentelemetry-instrument nexus serve`"
                )
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what is unfinished, and send what is left to an endpoint of the sink's own."""
        if self._close is not None:
            self._close()
        self._close = self._takes = None
        if self._own is not None and self.shared is not None and self._key is not None:
            self._own = None
            await self.shared.release(self._key)

    @property
    def wants_content(self) -> bool:
        """Whether OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT has queries and answers put into spans."""
        return self.traces and captures_content()

    def begin_trace(self, parent: TraceContext | None) -> TraceContext | None:
        """Return the span of a new run; `None` where the process's own providers make it, or none is made."""
        return self._own.begin(parent) if self._own is not None and self.traces else None

    def emit(self, event: Event) -> None:
        """Tell of one event."""
        if self._takes is None:
            raise RuntimeError("the sink otel is not open")
        for take in self._takes.get(event.type, ()):
            take(event)

    def flush(self) -> None:
        """Do nothing: OpenTelemetry sends in batches, by settings of its own."""

    def _begin(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        from nexus_metrics.otel_metrics import ModelNames, OtelMetrics
        from nexus_metrics.otel_traces import OtelTraces

        targets = ModelNames(self.pipeline)
        ids = None if self._own is None else self._own.ids
        told = OtelTraces(tracers.get_tracer(_NAME), targets, content=self.content or captures_content(), ids=ids)
        measured = OtelMetrics(meters.get_meter(_NAME), targets)
        takes: dict[str, list[Callable[[Any], None]]] = {}
        if self.traces:
            takes = {
                "run_started": [told.started],
                "step_finished": [told.stepped],
                "prompt_packed": [told.packed],
                "attempt_finished": [told.attempted],
                "tool_finished": [told.called],
                "run_finished": [told.finished],
                "run_failed": [told.failed],
            }
        if self.metrics:
            takes.setdefault("attempt_finished", []).append(measured.attempted)
        self._takes = {name: tuple(found) for name, found in takes.items()}
        self._close = told.close


@hookimpl
def nexus_sinks() -> list[type]:
    """Yield the sink."""
    return [Otel]
