"""Providers of the sink `otel`'s own, which send to an endpoint by OTLP over HTTP."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_CLOSE_MS = 5000.0


class Providers:
    """A provider of tracers and one of meters, neither of them the process's own."""

    def __init__(self, endpoint: str, service: str) -> None:
        resource, base = Resource.create({"service.name": service}), endpoint.rstrip("/")
        self.tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{base}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics"))
        self.meter_provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)

    def shutdown(self) -> None:
        """Send what is left and end the threads; blocks."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown(_CLOSE_MS)
