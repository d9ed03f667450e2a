"""Counts the events of one pipeline's runs. Labels have values out of small sets only, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

import nexus_core
from nexus_core import (
    AttemptFinished,
    Event,
    PromptPacked,
    RunFailed,
    RunFinished,
    RunStarted,
    StepFinished,
    StreamRestarted,
    ToolFinished,
    Waiting,
)
from nexus_metrics.metric_definitions import FAMILIES, Metric

OTHER = "other"
"""Stands for an outcome that the project does not know, such as the kind of an error of a plugin."""
MOST_RUNS = 10_000
"""Runs in progress that are kept in mind; the oldest is forgotten first."""
LONGEST_S = 3600.0
"""A run whose end was never heard of, because the queue was full, is forgotten after this."""

_MADE = frozenset(("ok", "failed", "error", "timeout"))
_NAMED = frozenset(("invalid", "not_approved", "cancelled"))
"""Outcomes of calls of tools: those that ran to an end, and those that did not, of a tool that there is."""


@cache
def known_outcomes() -> frozenset[str]:
    """Return the ways in which attempts and runs may end: the kinds and the classes of the project's errors."""
    errors = [getattr(nexus_core, name) for name in nexus_core.__all__ if name.endswith("Error")]
    kinds = {error.kind for error in errors if hasattr(error, "kind")}
    return frozenset({"ok", "cancelled", "queued", *kinds, *(error.__name__ for error in errors)})


class _Run:
    """What is known of a run in progress."""

    __slots__ = ("asked_s", "call_id", "first_at", "model", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.asked_s = 0.0
        """Spent on attempts and on waits before them."""
        self.first_at: float | None = None
        self.call_id = self.model = ""
        """Of its last attempt."""


class _Children(dict[Any, Any]):
    """The figures of one family by the values of its labels: what the library looks up slowly is looked up once."""

    def __init__(self, family: Any) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, values: Any) -> Any:
        child = self[values] = self._family.labels(*((values,) if isinstance(values, str) else values))
        return child


def _family(metric: Metric, registry: CollectorRegistry) -> Any:
    if metric.kind == "histogram":
        return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
    kind = Counter if metric.kind == "counter" else Gauge
    return kind(metric.name, metric.help, metric.labels, registry=registry)


class RunCounters:
    """The figures of one pipeline, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pipeline = ""
        """Its name, as the last run told it."""
        self._runs: dict[str, _Run] = {}
        built = {metric.name: (metric, _family(metric, self.registry)) for metric in FAMILIES}
        self._of: dict[str, Any] = {
            name: _Children(family) if metric.labels else family for name, (metric, family) in built.items()
        }
        self._known = known_outcomes()
        self._takes: dict[type, Callable[[Any], None]] = {
            RunStarted: self._started,
            StepFinished: self._stepped,
            PromptPacked: self._packed,
            Waiting: self._waits,
            AttemptFinished: self._attempted,
            StreamRestarted: self._restarted,
            ToolFinished: self._called,
            RunFinished: self._finished,
            RunFailed: self._failed,
        }

    def record(self, event: Event) -> None:
        """Count an event; one of an unknown type is left out."""
        take = self._takes.get(type(event))
        if take is not None:
            take(event)

    def in_flight(self, now: float) -> int:
        """Return how many runs have begun and not ended, at a time since the epoch."""
        for run_id, run in self._runs.copy().items():
            if now - run.started > LONGEST_S:
                self._runs.pop(run_id, None)
        return len(self._runs)

    def _outcome(self, told: str) -> str:
        return told if told in self._known else OTHER

    def _started(self, event: RunStarted) -> None:
        self.pipeline = event.pipeline
        if len(self._runs) >= MOST_RUNS:
            self._runs.pop(next(iter(self._runs)), None)
        self._runs[event.run_id] = _Run(event.time)

    def _stepped(self, event: StepFinished) -> None:
        if not event.skipped:
            self._of["nexus_step_duration_seconds"][event.verb].observe(event.duration_s)

    def _packed(self, event: PromptPacked) -> None:
        tokens = event.tokens_at_most if event.prompt_tokens is None else event.prompt_tokens
        room = event.window - event.reserved
        if room > 0:
            self._of["nexus_packing_utilization_ratio"][event.model].observe(tokens / room)
        self._of["nexus_packing_duration_seconds"].observe(event.duration_s)
        self._of["nexus_context_items_total"]["kept"].inc(event.kept)
        self._of["nexus_context_items_total"]["dropped"].inc(max(0, event.candidates - event.kept))

    def _waits(self, event: Waiting) -> None:
        self._of["nexus_waits_total"][event.model, self._outcome(event.why)].inc()

    def _attempted(self, row: AttemptFinished) -> None:
        of, model = self._of, row.model
        of["nexus_attempts_total"][model, self._outcome(row.outcome)].inc()
        if row.from_cache:  # the model has no part in how long that took
            of["nexus_cached_answers_total"][model].inc()
            self._follow(row)
            return
        of["nexus_attempt_duration_seconds"][model].observe(row.duration_s)
        if row.first_content_s is not None:
            of["nexus_attempt_time_to_first_token_seconds"][model].observe(row.first_content_s)
        if row.queued_s:
            of["nexus_queued_seconds_total"][model].inc(row.queued_s)
        if row.waited_s:
            of["nexus_waited_seconds_total"][model].inc(row.waited_s)
        self._count_tokens(row)
        self._follow(row)

    def _count_tokens(self, row: AttemptFinished) -> None:
        of, key = self._of, (row.model, row.usage_source)
        if row.prompt_tokens is not None:
            of["nexus_prompt_tokens_total"][key].inc(row.prompt_tokens)
        if row.completion_tokens is not None:
            of["nexus_completion_tokens_total"][key].inc(row.completion_tokens)
        if row.request_sent and (row.prompt_tokens is None or row.completion_tokens is None):
            of["nexus_attempts_without_usage_total"][row.model].inc()
        if row.cost is not None:
            of["nexus_cost_usd_total"][key].inc(row.cost)
        elif row.request_sent:
            of["nexus_attempts_without_cost_total"][row.model].inc()

    def _follow(self, row: AttemptFinished) -> None:
        """Note what an attempt means for its run, and whether the call has changed its model before it."""
        run = self._runs.get(row.run_id)
        if run is None:
            return
        if row.number > 1 and run.call_id == row.call_id:
            again = "nexus_retries_total" if run.model == row.model else "nexus_fallbacks_total"
            self._of[again][row.model].inc()
        run.call_id, run.model = row.call_id, row.model
        run.asked_s += row.duration_s + row.queued_s + row.waited_s
        if row.first_content_s is not None and run.first_at is None:
            run.first_at = row.time - row.duration_s + row.first_content_s

    def _restarted(self, event: StreamRestarted) -> None:
        self._of["nexus_stream_restarts_total"][event.model].inc()

    def _called(self, event: ToolFinished) -> None:
        outcome = event.outcome if event.outcome in (*_MADE, *_NAMED, "unknown", "refused") else OTHER
        # A model may call anything by any name; those of calls that were checked are names of tools.
        tool = event.name if outcome in (*_MADE, *_NAMED) else OTHER
        self._of["nexus_tool_calls_total"][tool, outcome].inc()
        if outcome in _MADE:
            self._of["nexus_tool_call_duration_seconds"][tool].observe(event.duration_s)

    def _finished(self, event: RunFinished) -> None:
        self._end(event, "ok", "answered")

    def _failed(self, event: RunFailed) -> None:
        self._end(event, self._outcome(event.kind), "cancelled" if event.kind == "cancelled" else "failed")

    def _end(self, event: RunFinished | RunFailed, outcome: str, result: str) -> None:
        of = self._of
        of["nexus_runs_total"][outcome].inc()
        of["nexus_run_duration_seconds"][result].observe(event.duration_s)
        run = self._runs.pop(event.run_id, None)
        if run is None:
            return
        of["nexus_run_overhead_seconds"].observe(max(0.0, event.duration_s - run.asked_s))
        if run.first_at is not None:
            of["nexus_run_time_to_first_token_seconds"].observe(max(0.0, run.first_at - run.started))
