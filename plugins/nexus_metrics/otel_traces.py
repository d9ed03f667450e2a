"""Runs as traces: a span of the run, below it those of its steps and attempts, with the times that the events tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from nexus_core import (
    AttemptFinished,
    PromptPacked,
    RunFailed,
    RunFinished,
    RunStarted,
    StepFinished,
    ToolFinished,
    TraceContext,
)

if TYPE_CHECKING:
    from nexus_metrics.otel_extensions import GivenIds
    from nexus_metrics.otel_metrics import ModelNames

MOST_RUNS = 10_000
"""Runs in progress; of more the oldest is ended, since its own end was lost."""


class _Run:
    """A run in progress."""

    __slots__ = ("packed", "span", "trace_id")

    def __init__(self, span: Span, trace_id: str) -> None:
        self.span = span
        self.trace_id = trace_id
        self.packed: dict[tuple[str, str], PromptPacked] = {}
        """By call and model."""


class OtelTraces:
    """The spans of one pipeline's runs."""

    def __init__(self, tracer: Tracer, targets: ModelNames, *, content: bool, ids: GivenIds | None = None) -> None:
        """Take a tracer, and what it takes ids from where those of the engine are to be used."""
        self._tracer = tracer
        self._targets = targets
        self._content = content
        self._ids = ids
        self._runs: dict[str, _Run] = {}

    def started(self, event: RunStarted) -> None:
        """Begin the trace of a run."""
        if len(self._runs) >= MOST_RUNS:
            self._runs.pop(next(iter(self._runs))).span.end()
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": event.pipeline,
            "nexus.run_id": event.run_id,
        }
        if self._content and event.content is not None:
            attributes["gen_ai.input.messages"] = _messages("user", event.content)
        span = self._tracer.start_span(
            f"invoke_workflow {event.pipeline}",
            context=self._above(event.trace),
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            start_time=_ns(event.time),
        )
        self._runs[event.run_id] = _Run(span, event.trace.trace_id if event.trace else "")

    def stepped(self, event: StepFinished) -> None:
        """Tell of a step that gathers or ranks as a span; what the others take is in those of packing and attempts."""
        run = self._runs.get(event.run_id)
        if run is None or event.skipped or event.verb not in ("gather", "rank"):
            return
        attributes: dict[str, Any] = {"nexus.step": event.step, "nexus.items": event.items}
        if event.verb == "gather":
            attributes["gen_ai.operation.name"] = "retrieval"
        if event.notes:
            attributes["nexus.notes"] = event.notes
        self._span(run, "retrieval" if event.verb == "gather" else "rank", event.time, event.duration_s, attributes)

    def packed(self, event: PromptPacked) -> None:
        """Tell of packing as a span, and keep in mind what the next attempts of a call send."""
        run = self._runs.get(event.run_id)
        if run is None:
            return
        run.packed[event.call_id, event.model] = event
        attributes = {"nexus.call_id": event.call_id, "nexus.model": event.model, **_packing(event)}
        self._span(run, "pack", event.time, event.duration_s, attributes)

    def attempted(self, row: AttemptFinished) -> None:
        """Tell of an attempt as a span."""
        run = self._runs.get(row.run_id)
        context = Context() if run is None else set_span_in_context(run.span, Context())
        begun = row.time - row.duration_s
        if self._ids is not None and run is not None and row.span_id:
            self._ids.give(run.trace_id, row.span_id)
        attributes = self._attributes(row, run)
        span = self._tracer.start_span(
            f"{attributes['gen_ai.operation.name']} {self._targets.model_id(row.model, row.model_id)}",
            context=context,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=_ns(begun),
        )
        if row.outcome != "ok":
            span.set_status(Status(StatusCode.ERROR, row.error))
        span.end(_ns(row.time))

    def called(self, event: ToolFinished) -> None:
        """Tell of a call of a tool as a span; of one that did not run, too, which takes no time."""
        run = self._runs.get(event.run_id)
        if run is None:
            return
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": event.name,
            "gen_ai.tool.type": "function",
            "nexus.run_id": event.run_id,
            "nexus.call_id": event.call_id,
            "nexus.round": event.round,
            "nexus.items": event.items,
        }
        if self._content and event.arguments is not None and event.result is not None:
            attributes["gen_ai.tool.call.arguments"] = event.arguments
            attributes["gen_ai.tool.call.result"] = event.result
        status = None
        if event.outcome != "ok":
            attributes["error.type"] = event.outcome
            status = Status(StatusCode.ERROR)
        self._span(run, f"execute_tool {event.name}", event.time, event.duration_s, attributes, status)

    def finished(self, event: RunFinished) -> None:
        """End the trace of a run that is done."""
        run = self._runs.pop(event.run_id, None)
        if run is None:
            return
        if event.model is not None:
            run.span.set_attribute("nexus.model", event.model)
        for name, count in (("input", event.prompt_tokens), ("output", event.completion_tokens)):
            if count is not None:
                run.span.set_attribute(f"gen_ai.usage.{name}_tokens", count)
        if event.cost is not None:
            run.span.set_attribute("nexus.cost_usd", event.cost)
        if self._content and event.content is not None:
            run.span.set_attribute("gen_ai.output.messages", _messages("assistant", event.content))
        run.span.end(_ns(event.time))

    def failed(self, event: RunFailed) -> None:
        """End the trace of a run that failed."""
        run = self._runs.pop(event.run_id, None)
        if run is None:
            return
        run.span.set_attribute("error.type", event.kind)
        run.span.set_status(Status(StatusCode.ERROR, event.message))
        if self._content and event.partial is not None:
            run.span.set_attribute("gen_ai.output.messages", _messages("assistant", event.partial))
        run.span.end(_ns(event.time))

    def close(self) -> None:
        """End what has not been told of to its end."""
        for run in self._runs.values():
            run.span.end()
        self._runs.clear()

    def _above(self, trace: TraceContext | None) -> Context:
        """Return what a run is below, and let its span have the ids that services are told; mostly below nothing."""
        # A context of its own: whatever the thread is in has nothing to do with this run.
        if trace is None or self._ids is None:
            return Context()
        self._ids.give(trace.trace_id, trace.span_id)
        if not trace.parent_id:
            return Context()
        return context_of(trace.trace_id, trace.parent_id, sampled=trace.sampled)

    def _span(
        self,
        run: _Run,
        name: str,
        ended: float,
        took_s: float,
        attributes: Mapping[str, Any],
        status: Status | None = None,
    ) -> None:
        """Tell of something within a run."""
        above = set_span_in_context(run.span, Context())
        span = self._tracer.start_span(name, context=above, attributes=attributes, start_time=_ns(ended - took_s))
        if status is not None:
            span.set_status(status)
        span.end(_ns(ended))

    def _attributes(self, row: AttemptFinished, run: _Run | None) -> Mapping[str, Any]:
        packed = None if run is None else run.packed.get((row.call_id, row.model))
        found: dict[str, Any] = {
            **self._targets.attributes(row),
            "gen_ai.usage.input_tokens": row.prompt_tokens,
            "gen_ai.usage.output_tokens": row.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": row.cached_tokens,
            "gen_ai.usage.reasoning.output_tokens": row.reasoning_tokens,
            "gen_ai.response.time_to_first_chunk": row.first_content_s,
            "http.response.status_code": row.status,
            "nexus.run_id": row.run_id,
            "nexus.call_id": row.call_id,
            "nexus.attempt": row.number,
            "nexus.model": row.model,
            "nexus.usage_source": row.usage_source if row.prompt_tokens is not None else None,
            "nexus.cost_usd": row.cost,
            "nexus.error_code": row.code,
            "nexus.from_cache": row.from_cache or None,
            "nexus.queued_s": row.queued_s or None,
            "nexus.waited_s": row.waited_s or None,
            **({} if packed is None else _packing(packed)),
        }
        return {name: value for name, value in found.items() if value is not None}


def context_of(trace_id: str, span_id: str, *, sampled: bool) -> Context:
    """Return OpenTelemetry's context of a span in another process."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    ids = int(trace_id, 16), int(span_id, 16)
    return set_span_in_context(NonRecordingSpan(SpanContext(*ids, is_remote=True, trace_flags=flags)), Context())


def _packing(event: PromptPacked) -> Mapping[str, Any]:
    dropped = event.candidates - event.kept
    return {
        "nexus.window": event.window,
        "nexus.reserved": event.reserved,
        "nexus.items_kept": event.kept,
        "nexus.items_dropped": dropped,
    }


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _messages(role: str, text: str) -> str:
    """Return a message as the conventions write content into an attribute: as JSON."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])
