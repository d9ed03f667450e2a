"""Providers of the sink `otel`'s own, which send by OTLP over HTTP: to an endpoint, or as the environment says."""

from __future__ import annotations

import asyncio
import logging
from threading import Thread
from time import monotonic
from uuid import uuid4

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from nexus_core import TraceContext
from nexus_metrics.otel_extensions import FailuresOnce, GivenIds
from nexus_metrics.otel_traces import context_of
from nexus_metrics.otel_variables import is_propagated, is_sent, names_service

_log = logging.getLogger(__name__)
_EXPORTERS = [logging.getLogger(each.__module__) for each in (OTLPSpanExporter, OTLPMetricExporter)]

CLOSER = "nexus-otel-close"
"""The name of the threads that send what is left."""
CLOSE_S = 4.0
"""What is left is given up after this: a service that does not answer must not hold up the end of a process."""


class OtelProviders:
    """A provider of tracers and one of meters, neither of them the process's own."""

    def __init__(self, endpoint: str | None, service: str) -> None:
        """Take an endpoint, or `None` for what the variables of OpenTelemetry say of it."""
        for logger in _EXPORTERS:
            if not any(isinstance(each, FailuresOnce) for each in logger.filters):
                logger.addFilter(FailuresOnce())
        resource, base = _resource(service, named=endpoint is not None), (endpoint or "").rstrip("/")
        self.ids = GivenIds()
        self.tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self.ids)
        self._traces = endpoint is not None or is_sent("TRACES")
        if self._traces:
            exporter = OTLPSpanExporter(endpoint=f"{base}/v1/traces" if base else None)
            self.tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
        readers = []
        if endpoint is not None or is_sent("METRICS"):
            metrics = OTLPMetricExporter(endpoint=f"{base}/v1/metrics" if base else None)
            readers = [PeriodicExportingMetricReader(metrics)]
        self.meter_provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)

    def begin(self, parent: TraceContext | None) -> TraceContext | None:
        """Return the span of a new run, sampled as the variables say; `None` where no spans are sent."""
        if not self._traces:
            return None
        trace_id = parent.trace_id if parent else f"{self.ids.generate_trace_id():032x}"
        above = Context() if parent is None else context_of(parent.trace_id, parent.span_id, sampled=parent.sampled)
        decision = self.tracer_provider.sampler.should_sample(above, int(trace_id, 16), "invoke_workflow").decision
        return TraceContext(
            trace_id=trace_id,
            span_id=f"{self.ids.generate_span_id():016x}",
            sampled=decision.is_sampled(),  # type: ignore[no-untyped-call]
            parent_id=parent.span_id if parent else "",
            is_sent=is_propagated(),
        )

    async def close(self) -> None:
        """Send what is left, as the last of several sinks that share it."""
        if not await asyncio.to_thread(self.shutdown):
            _log.warning("the sink otel gave up: its endpoint took too long for what was left to send")

    def shutdown(self) -> bool:
        """Send what is left, for a while at most, and tell whether all of it was sent or refused; blocks."""
        # Threads that need not end before the process does: OpenTelemetry's own limits come to half a minute and more.
        own = (self.tracer_provider, self.meter_provider)
        ends = [Thread(target=provider.shutdown, name=CLOSER, daemon=True) for provider in own]
        for end in ends:
            end.start()
        until = monotonic() + CLOSE_S
        for end in ends:
            end.join(max(0.0, until - monotonic()))
        return not any(end.is_alive() for end in ends)


def _resource(service: str, *, named: bool) -> Resource:
    """Return what is told of the process: the service's name by the pipeline, by the variables, or our own."""
    found = Resource.create()
    own = {} if names_service() and not named else {"service.name": service}
    if "service.instance.id" not in found.attributes:  # figures of several servers are told apart by it
        own["service.instance.id"] = str(uuid4())
    return found.merge(Resource(own))
