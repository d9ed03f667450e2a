"""Runs as traces: a span of the run, and below it one of each attempt, with the times that the events tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from nexus_core import AttemptFinished, PromptPacked, RunFailed, RunFinished, RunStarted

if TYPE_CHECKING:
    from nexus_metrics.otel_metrics import ModelNames

MOST_RUNS = 10_000
"""Runs in progress; of more the oldest is ended, since its own end was lost."""


class _Run:
    """A run in progress."""

    __slots__ = ("packed", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.packed: dict[tuple[str, str], PromptPacked] = {}
        """By call and model."""


class OtelTraces:
    """The spans of one pipeline's runs."""

    def __init__(self, tracer: Tracer, targets: ModelNames, *, content: bool) -> None:
        self._tracer = tracer
        self._targets = targets
        self._content = content
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
        # A context of its own: whatever the thread is in has nothing to do with this run.
        span = self._tracer.start_span(
            f"invoke_workflow {event.pipeline}",
            context=Context(),
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            start_time=_ns(event.time),
        )
        self._runs[event.run_id] = _Run(span)

    def packed(self, event: PromptPacked) -> None:
        """Keep in mind what the next attempts of a call send."""
        run = self._runs.get(event.run_id)
        if run is not None:
            run.packed[event.call_id, event.model] = event

    def attempted(self, row: AttemptFinished) -> None:
        """Tell of an attempt as a span."""
        run = self._runs.get(row.run_id)
        context = Context() if run is None else set_span_in_context(run.span, Context())
        begun = row.time - row.duration_s
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

    def _attributes(self, row: AttemptFinished, run: _Run | None) -> Mapping[str, Any]:
        packed = None if run is None else run.packed.get((row.call_id, row.model))
        found = {
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
            "nexus.window": packed and packed.window,
            "nexus.reserved": packed and packed.reserved,
            "nexus.items_kept": packed and packed.kept,
            "nexus.items_dropped": packed and packed.candidates - packed.kept,
        }
        return {name: value for name, value in found.items() if value is not None}


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _messages(role: str, text: str) -> str:
    """Return a message as the conventions write content into an attribute: as JSON."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])
