"""The families of figures that the sink `prometheus` keeps: one declaration makes them and the reference."""

from __future__ import annotations

from typing import NamedTuple

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 1.0)


class Metric(NamedTuple):
    """Figures of one name, one for each combination of labels; `pipeline` is a label of every family."""

    kind: str
    """`counter`, `gauge` or `histogram`."""
    name: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


FAMILIES = (
    Metric("counter", "nexus_runs_total", ("outcome",), "Runs that have ended."),
    Metric("histogram", "nexus_run_duration_seconds", ("result",), "From the start of a run to its end.", _SECONDS),
    Metric(
        "histogram", "nexus_run_time_to_first_token_seconds", (),
        "From the start of a streamed run to the first text, reasoning or tool call.", _SECONDS,
    ),
    Metric(
        "histogram", "nexus_run_overhead_seconds", (),
        "What of a run was neither an attempt nor a wait: sources, rankers, packing and the engine.", _SHORT,
    ),
    Metric("histogram", "nexus_step_duration_seconds", ("verb",), "Of each step, with `steps: true`.", _SECONDS),
    Metric("counter", "nexus_attempts_total", ("model", "outcome"), "Rows of the ledger."),
    Metric("counter", "nexus_cached_answers_total", ("model",), "Of those, answers of the cache: nothing was sent."),
    Metric("histogram", "nexus_attempt_duration_seconds", ("model",), "From a request to its end.", _SECONDS),
    Metric(
        "histogram", "nexus_attempt_time_to_first_token_seconds", ("model",),
        "From the request of a stream to the first text, reasoning or tool call.", _SECONDS,
    ),
    Metric("counter", "nexus_retries_total", ("model",), "Attempts that asked the same model of a call again."),
    Metric("counter", "nexus_fallbacks_total", ("model",), "Attempts at a model after another one of the call failed."),
    Metric("counter", "nexus_stream_restarts_total", ("model",), "Streams of which all that was shown became void."),
    Metric("counter", "nexus_waits_total", ("model", "reason"), "Waits that were told of before they were made."),
    Metric("counter", "nexus_queued_seconds_total", ("model",), "Waited for limits of the pipeline before attempts."),
    Metric("counter", "nexus_waited_seconds_total", ("model",), "Waited after failures before attempts."),
    Metric("counter", "nexus_prompt_tokens_total", ("model", "source"), "Tokens sent, by who counted them."),
    Metric("counter", "nexus_completion_tokens_total", ("model", "source"), "Tokens received, by who counted them."),
    Metric(
        "counter", "nexus_attempts_without_usage_total", ("model",),
        "Requests whose tokens are unknown, and therefore not in the sums.",
    ),
    Metric("counter", "nexus_cost_usd_total", ("model", "source"), "US dollars, by who counted the tokens."),
    Metric(
        "counter", "nexus_attempts_without_cost_total", ("model",),
        "Requests whose price or tokens are unknown, and therefore not in the cost.",
    ),
    Metric(
        "histogram", "nexus_packing_utilization_ratio", ("model",),
        "Tokens of a prompt, at most, as a share of its model's window minus the reserve.", _SHARES,
    ),
    Metric("histogram", "nexus_packing_duration_seconds", (), "Of packing one prompt.", _SHORT),
    Metric("counter", "nexus_tool_calls_total", ("tool", "outcome"), "Calls of the pipeline's tools by models."),
    Metric("histogram", "nexus_tool_call_duration_seconds", ("tool",), "Of calls that were made.", _SECONDS),
    Metric("counter", "nexus_context_items_total", ("fate",), "Items that packing has kept or dropped."),
)  # fmt: skip
LIVE = (
    Metric("gauge", "nexus_runs_in_flight", (), "Runs that have begun and not ended."),
    Metric("gauge", "nexus_breaker_state", ("model", "state"), "1 for the state that the breaker of a model is in."),
    Metric("counter", "nexus_sink_dropped_events_total", ("sink",), "Events that found the queue of a sink full."),
)
"""Those that are looked up when somebody asks for them."""
