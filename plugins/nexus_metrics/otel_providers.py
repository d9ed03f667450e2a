"""Providers of the sink `otel`'s own, which send to an endpoint by OTLP over HTTP."""

from __future__ import annotations

from threading import Thread
from time import monotonic

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

CLOSER = "nexus-otel-close"
"""The name of the threads that send what is left."""
CLOSE_S = 4.0
"""What is left is given up after this: a service that does not answer must not hold up the end of a process."""


class OtelProviders:
    """A provider of tracers and one of meters, neither of them the process's own."""

    def __init__(self, endpoint: str, service: str) -> None:
        resource, base = Resource.create({"service.name": service}), endpoint.rstrip("/")
        self.tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{base}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics"))
        self.meter_provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)

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
