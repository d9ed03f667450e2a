"""The sink `otel`: spans and metrics by the GenAI conventions, read back with the SDK's own in-memory exporters."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from attrs import evolve
from nexus_metrics import optional_imports
from nexus_metrics.otel import Otel
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.trace import SpanKind, StatusCode

from nexus_core import (
    AttemptFinished,
    ConfigError,
    Event,
    Item,
    Pipeline,
    PromptPacked,
    RunFailed,
    RunFinished,
    RunStarted,
    ToolFinished,
)
from nexus_core.testing import ScriptedUpstream
from nexus_core.testing.answers import json_answer

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
PIPELINE = """name: handbook
content: {content}
models: {{main: {{use: extractive}}}}
steps: [{{generate: main}}]
sinks: [{{use: otel, content: {option}}}]
"""
STARTED = RunStarted(run_id="r", time=100.0, pipeline="handbook")
FIRST = AttemptFinished(
    run_id="r", time=101.5, call_id="c", number=1, model="main", model_id="m-1", outcome="rate_limit", status=429,
    error="slow down", duration_s=1.0,
)  # fmt: skip
SECOND = AttemptFinished(
    run_id="r", time=104.0, call_id="c", number=2, model="main", model_id="m-1", outcome="ok", status=200,
    duration_s=2.0, waited_s=0.5, first_content_s=0.25, prompt_tokens=7, completion_tokens=3, cached_tokens=0,
    answered_by="m-1-2026",
)  # fmt: skip
PACKED = PromptPacked(
    run_id="r", time=100.1, call_id="c", model="main", window=1000, reserved=200, tokens_at_most=700,
    prompt_tokens=600, context_tokens=None, kept=3, candidates=10, duration_s=0.01,
)  # fmt: skip
FINISHED = RunFinished(run_id="r", time=104.5, duration_s=4.5, model="main", prompt_tokens=7, completion_tokens=None)
FAILED = RunFailed(run_id="r", time=103.0, duration_s=3.0, kind="NoAnswerError", message="no model answered")


class Seen:
    """What the process's own providers have been told."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """By name, in the order in which they ended; of two with one name the last."""
        return {span.name: span for span in self._exporter.get_finished_spans()}

    @property
    def all_spans(self) -> tuple[ReadableSpan, ...]:
        return tuple(self._exporter.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        """Return the data points of a metric."""
        data: Any = self._reader.get_metrics_data()
        scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
        return [
            p for scope in scopes for metric in scope.metrics if metric.name == name for p in metric.data.data_points
        ]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Providers as a process sets them up; the API lets that be done once only, so its getters give them."""
    found = Seen()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: found.tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: found.meters)
    yield found
    found.tracers.shutdown()
    found.meters.shutdown()


async def tell(*events: Event, **options: Any) -> None:
    async with Otel(**options) as sink:
        for event in events:
            sink.emit(event)
        sink.flush()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_costs_are_told_where_they_are_known(seen: Seen) -> None:
    """As a counter that says who counted the tokens, and on the spans of attempts and run; unknown is left out."""
    await tell(STARTED, FIRST, evolve(SECOND, cost=0.25), evolve(FINISHED, cost=0.25))
    [point] = seen.points("nexus.client.cost")
    assert (point.value, point.attributes["nexus.usage_source"]) == (0.25, "provider")
    costs = [dict(span.attributes or {}).get("nexus.cost_usd") for span in seen.all_spans]
    assert costs == [None, 0.25, 0.25]


async def test_a_run_is_one_trace_with_a_span_for_each_attempt(seen: Seen) -> None:
    """The attempts are children of the run, and all times are those of the events."""
    await tell(STARTED, PACKED, FIRST, SECOND, FINISHED)
    pack, first, second, run = seen.all_spans
    assert (run.name, pack.name, first.name, second.name) == (
        "invoke_workflow handbook",
        "pack",
        "chat m-1",
        "chat m-1",
    )
    assert (run.kind, first.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    assert run.parent is None
    for span in (pack, first, second):
        assert span.parent is not None
        assert run.context is not None
        assert (span.parent.span_id, span.parent.trace_id) == (run.context.span_id, run.context.trace_id)
    assert (run.start_time, run.end_time) == (100_000_000_000, 104_500_000_000)
    assert (first.start_time, first.end_time, second.start_time) == (100_500_000_000, 101_500_000_000, 102_000_000_000)


async def test_an_attempt_has_the_attributes_of_the_conventions(seen: Seen) -> None:
    """Unknown figures are left out, and a known 0 stays."""
    await tell(STARTED, PACKED, FIRST, SECOND, FINISHED)
    failed, good = (attributes(span) for span in seen.all_spans[1:3])
    assert (failed["error.type"], failed["http.response.status_code"]) == ("rate_limit", 429)
    assert seen.all_spans[1].status.status_code is StatusCode.ERROR
    assert "gen_ai.usage.input_tokens" not in failed
    assert {name: good[name] for name in good if name.startswith("gen_ai")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "unknown",
        "gen_ai.request.model": "m-1",
        "gen_ai.response.model": "m-1-2026",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 0,
    }
    assert (good["nexus.waited_s"], good["nexus.items_dropped"], good["nexus.window"]) == (0.5, 7, 1000)
    assert "error.type" not in good


async def test_an_answer_of_the_cache_is_marked_and_measured_by_nothing(seen: Seen) -> None:
    """It is a span of the run, and no operation of the model."""
    await tell(STARTED, evolve(SECOND, from_cache=True, request_sent=False), FINISHED)
    assert attributes(seen.spans["chat m-1"])["nexus.from_cache"] is True
    assert seen.points("gen_ai.client.operation.duration") == []


async def test_a_failed_run_is_an_error(seen: Seen) -> None:
    """Its span says the kind, as the outcome does elsewhere."""
    await tell(STARTED, FIRST, FAILED)
    run = seen.spans["invoke_workflow handbook"]
    assert (run.status.status_code, attributes(run)["error.type"]) == (StatusCode.ERROR, "NoAnswerError")


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("option", [False, True])
async def test_content_is_told_only_where_both_sides_want_it(
    seen: Seen, tmp_path: Path, content: bool, option: bool
) -> None:
    """The pipeline must say so and the sink must say so: in all other cases no span holds a word of it."""
    (tmp_path / "p.yaml").write_text(PIPELINE.format(content=str(content).lower(), option=str(option).lower()))
    async with Pipeline.load(tmp_path / "p.yaml") as pipeline:
        await pipeline.run("What is grey?", items=[Item(id="1", text="The elephant is grey.")])
    run = attributes(seen.spans["invoke_workflow handbook"])
    assert ("gen_ai.input.messages" in run, "gen_ai.output.messages" in run) == (content and option,) * 2
    told = "".join(str(attributes(span)) for span in seen.all_spans)
    assert ("elephant" in told or "grey?" in told) == (content and option)
    if content and option:
        (message,) = json.loads(run["gen_ai.input.messages"])
        assert message == {"role": "user", "parts": [{"type": "text", "content": "What is grey?"}]}


async def test_the_pipeline_tells_who_provides_a_model(seen: Seen, tmp_path: Path) -> None:
    """The events have no provider: the sink looks it up in its pipeline."""
    (tmp_path / "p.yaml").write_text(PIPELINE.format(content="false", option="false"))
    async with Pipeline.load(tmp_path / "p.yaml") as pipeline:
        info = pipeline.models.get().info
        await pipeline.run("What is grey?", items=[Item(id="1", text="The elephant is grey.")])
    chat = attributes(seen.spans[f"chat {info.id}"])
    assert (chat["gen_ai.provider.name"], chat["gen_ai.request.model"]) == (info.provider, info.id)


async def test_metrics_are_those_of_the_conventions(seen: Seen) -> None:
    """Times of every attempt, tokens that the service has counted, and the time to the first content of streams."""
    await tell(STARTED, FIRST, SECOND, FINISHED)
    durations = {p.attributes.get("error.type"): p for p in seen.points("gen_ai.client.operation.duration")}
    assert {kind: point.sum for kind, point in durations.items()} == {"rate_limit": 1.0, None: 2.0}
    assert durations[None].explicit_bounds[:2] == (0.01, 0.02)
    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in seen.points("gen_ai.client.token.usage")}
    assert tokens == {"input": 7, "output": 3}
    assert [point.sum for point in seen.points("gen_ai.client.operation.time_to_first_chunk")] == [0.25]


async def test_guessed_tokens_are_in_no_metric(seen: Seen) -> None:
    """By the conventions only what is billed counts; the span has the guess, and says that it is one."""
    guessed = AttemptFinished(
        run_id="r", time=1.0, call_id="c", number=1, model="main", model_id="m", outcome="ok", prompt_tokens=7,
        completion_tokens=3, usage_source="estimated",
    )  # fmt: skip
    await tell(guessed)
    assert seen.points("gen_ai.client.token.usage") == []
    assert attributes(seen.spans["chat m"])["nexus.usage_source"] == "estimated"


@pytest.mark.parametrize(("traces", "measured"), [(True, False), (False, True), (False, False)])
async def test_traces_and_metrics_can_be_left_out(seen: Seen, traces: bool, measured: bool) -> None:
    """Each for itself; who wants no traces hears of no runs."""
    await tell(STARTED, SECOND, FINISHED, traces=traces, metrics=measured)
    assert bool(seen.all_spans) == traces
    assert bool(seen.points("gen_ai.client.operation.duration")) == measured
    assert ("run_started" in Otel(traces=traces).hears) == traces


async def test_events_that_were_lost_leave_no_span_open(seen: Seen) -> None:
    """An attempt without its run stands alone, a run without its end ends when the sink is closed."""
    await tell(SECOND, STARTED)
    assert set(seen.spans) == {"chat m-1", "invoke_workflow handbook"}
    assert seen.spans["chat m-1"].parent is None


async def test_an_endpoint_is_sent_traces_and_metrics_before_the_sink_closes(tmp_path: Path) -> None:
    """By OTLP over HTTP, with providers of the sink's own: the process's are not touched."""
    before = trace.get_tracer_provider()
    async with ScriptedUpstream(*[json_answer({})] * 4) as upstream:
        async with Otel(endpoint=upstream.origin, service="handbook-service") as sink:
            for event in (STARTED, SECOND, FINISHED):
                await asyncio.to_thread(sink.emit, event)
        received = {request.target: request.body for request in upstream.requests}
    assert set(received) == {"/v1/traces", "/v1/metrics"}
    sent = ExportTraceServiceRequest.FromString(received["/v1/traces"])
    assert {s.name for r in sent.resource_spans for scope in r.scope_spans for s in scope.spans} == {
        "chat m-1", "invoke_workflow handbook",
    }  # fmt: skip
    assert b"handbook-service" in received["/v1/metrics"]
    assert ExportMetricsServiceRequest.FromString(received["/v1/metrics"]).resource_metrics
    assert trace.get_tracer_provider() is before


@pytest.mark.slow
async def test_an_endpoint_that_does_not_answer_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that drains has seconds; what is left is given up, and said to be."""
    monkeypatch.setattr("nexus_metrics.otel_providers.CLOSE_S", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with ScriptedUpstream(deaf=True) as upstream:
        async with Otel(endpoint=upstream.origin) as sink:
            for event in (STARTED, SECOND, FINISHED):
                sink.emit(event)
            began = monotonic()
        assert monotonic() - began < 5
        for thread in [thread for thread in threading.enumerate() if thread.name == "nexus-otel-close"]:
            await asyncio.to_thread(thread.join, 20)
    assert "the sink otel gave up" in caplog.text


async def test_without_a_provider_a_warning_says_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever names the sink wants something to be sent."""
    with caplog.at_level(logging.WARNING):
        await tell(STARTED, SECOND, FINISHED)
    assert "set its `endpoint`" in caplog.text


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline does not load, and the message is the command that mends it."""
    monkeypatch.setattr(optional_imports, "find_spec", lambda name: None)
    (tmp_path / "p.yaml").write_text(PIPELINE.format(content="false", option="false"))
    with pytest.raises(ConfigError, match=r"p\.yaml:5:\d+.*pip install 'contextnexus\[otel\]'"):
        Pipeline.load(tmp_path / "p.yaml")


def test_names_are_those_of_the_conventions() -> None:
    """What the page lists of `gen_ai` is known to the library of conventions."""
    known = {
        value
        for module in (gen_ai_attributes, gen_ai_metrics)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    listed = set(re.findall(r"`(gen_ai[\w.]+)`", PAGE.read_text("utf-8")))
    assert listed - known == set()
    assert len(listed) > 12


async def test_the_reference_has_every_attribute(seen: Seen) -> None:
    """Whatever stands on a span is in the table."""
    full = AttemptFinished(
        run_id="r", time=1.0, call_id="c", number=1, model="main", model_id="m", outcome="timeout", status=504,
        code="deadline", queued_s=1.0, waited_s=1.0, prompt_tokens=1, completion_tokens=1, reasoning_tokens=1,
        cached_tokens=1, first_content_s=0.1, answered_by="m",
    )  # fmt: skip
    await tell(STARTED, PACKED, full, FINISHED)
    text = PAGE.read_text("utf-8")
    assert [name for span in seen.all_spans for name in attributes(span) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("content", [False, True], ids=["off", "on"])
async def test_a_call_of_a_tool_is_a_span_below_its_run(seen: Seen, content: bool) -> None:
    """By the conventions; arguments and result where content is switched on, an error by its outcome."""
    called = ToolFinished(
        run_id="r", time=103.0, call_id="c", round=1, number=1, name="search", outcome="ok", duration_s=0.5, items=2,
        arguments='{"query": "leave"}', result="28 days",
    )  # fmt: skip
    await tell(STARTED, called, evolve(called, name="slow", outcome="timeout"), FINISHED, content=content)
    run, span, slow = (seen.spans[name] for name in (
        "invoke_workflow handbook", "execute_tool search", "execute_tool slow",
    ))  # fmt: skip
    assert span.parent is not None
    assert span.parent.span_id == run.context.span_id
    assert (span.start_time, span.end_time) == (102_500_000_000, 103_000_000_000)
    attributes = dict(span.attributes or {})
    assert attributes[gen_ai_attributes.GEN_AI_OPERATION_NAME] == "execute_tool"
    assert attributes[gen_ai_attributes.GEN_AI_TOOL_NAME] == "search"
    assert ("28 days" in attributes.values()) is content
    assert (slow.status.status_code, (slow.attributes or {})["error.type"]) == (StatusCode.ERROR, "timeout")
    assert span.status.status_code is StatusCode.UNSET
