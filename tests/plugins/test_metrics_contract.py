"""The sinks of figures and traces keep the contract of sinks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from nexus_metrics.otel import Otel
from nexus_metrics.prometheus import Prometheus
from opentelemetry import metrics, trace

from nexus_core import Sink
from nexus_core.testing import SinkContract

pytestmark = pytest.mark.slow


class TestPrometheus(SinkContract):
    absent: ClassVar[Mapping[str, str]] = {
        "written": "figures hold no ids of runs",
        "failure": "counting in memory cannot fail",
    }

    def make(self, folder: Path) -> Sink:
        return Prometheus(steps=True)


class TestOtel(SinkContract):
    absent: ClassVar[Mapping[str, str]] = {
        "written": "what is sent is at the provider of the process",
        "failure": "OpenTelemetry reports what it cannot send by itself, and goes on",
    }

    @pytest.fixture(autouse=True)
    def _provided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
        monkeypatch.setattr(metrics, "get_meter_provider", metrics.NoOpMeterProvider)

    def make(self, folder: Path) -> Sink:
        return Otel(content=True)
