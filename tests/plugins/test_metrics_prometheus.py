"""The sink `prometheus`: what it counts, that its labels are few, and that the reference says so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import time
from typing import Any

import pytest
from generated_pages import fill
from hypothesis import given, settings, strategies as st
from nexus_metrics import optional_imports
from nexus_metrics.counters import LONGEST_S, MOST_RUNS, RunCounters, known_outcomes
from nexus_metrics.metric_definitions import FAMILIES, LIVE
from nexus_metrics.prometheus import Prometheus

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
    StepFinished,
    StreamRestarted,
    ToolFinished,
    Waiting,
)

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
PIPELINE = """name: handbook
models: {main: {use: extractive}}
steps:
  - prompt: qa
  - generate: main
sinks: [{use: prometheus, steps: true}]
"""


def started(run_id: str = "r", at: float = 100.0) -> RunStarted:
    return RunStarted(run_id=run_id, time=at, pipeline="handbook")


def attempt(number: int = 1, model: str = "main", outcome: str = "ok", **more: Any) -> AttemptFinished:
    given = {"run_id": "r", "time": 101.0, "call_id": "c", "model_id": "m", **more}
    return AttemptFinished(number=number, model=model, outcome=outcome, **given)


def packed(**more: Any) -> PromptPacked:
    given = {
        "run_id": "r", "time": 100.0, "call_id": "c", "model": "main", "window": 1000, "reserved": 200,
        "tokens_at_most": 700, "prompt_tokens": 600, "context_tokens": 500, "kept": 3, "candidates": 10,
        "duration_s": 0.001,
    }  # fmt: skip
    return PromptPacked(**{**given, **more})


def finished(duration_s: float = 2.0, run_id: str = "r") -> RunFinished:
    return RunFinished(
        run_id=run_id, time=102.0, duration_s=duration_s, model="main", prompt_tokens=7, completion_tokens=3
    )


def failed(kind: str) -> RunFailed:
    return RunFailed(run_id="r", time=102.0, duration_s=2.0, kind=kind, message="no")


async def told(*events: Event) -> Mapping[str, float]:
    """Return the series that are not 0 after some events, as `name{label=value,...}` without the pipeline."""
    async with Prometheus() as sink:
        for event in events:
            sink.emit(event)
        return dict(series(sink))


def series(sink: Prometheus) -> Iterator[tuple[str, float]]:
    for family in sink.collect():
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sample.labels.items() if key != "pipeline")
            if sample.value:
                yield f"{sample.name}{{{labels}}}", sample.value


async def test_a_good_run_is_counted_once_with_its_times_and_tokens() -> None:
    """Total, overhead, attempt, tokens by who counted them, utilisation and items."""
    row = attempt(duration_s=1.0, queued_s=0.25, waited_s=0.5, prompt_tokens=7, completion_tokens=3)
    found = await told(started(), packed(), row, finished())
    assert found["nexus_runs_total{outcome=ok}"] == 1
    assert found["nexus_run_duration_seconds_sum{result=answered}"] == 2.0
    assert found["nexus_run_overhead_seconds_sum{}"] == pytest.approx(0.25)
    assert found["nexus_prompt_tokens_total{model=main,source=provider}"] == 7
    assert found["nexus_completion_tokens_total{model=main,source=provider}"] == 3
    assert found["nexus_queued_seconds_total{model=main}"] == 0.25
    assert found["nexus_waited_seconds_total{model=main}"] == 0.5
    assert found["nexus_packing_utilization_ratio_sum{model=main}"] == 600 / 800
    assert (found["nexus_context_items_total{fate=kept}"], found["nexus_context_items_total{fate=dropped}"]) == (3, 7)
    assert "nexus_runs_in_flight{}" not in found


async def test_costs_are_counted_where_they_are_known() -> None:
    """By who counted the tokens; a request of unknown cost is counted as that, one that was not sent not at all."""
    priced = [attempt(cost=0.25), attempt(cost=0.5, usage_source="estimated")]
    found = await told(*priced, attempt(request_sent=False), attempt(prompt_tokens=7, completion_tokens=3))
    assert found["nexus_cost_usd_total{model=main,source=provider}"] == 0.25
    assert found["nexus_cost_usd_total{model=main,source=estimated}"] == 0.5
    assert found["nexus_attempts_without_cost_total{model=main}"] == 1


async def test_time_to_first_token_is_from_the_start_of_the_run() -> None:
    """Failed attempts and waits before the one that spoke are in it."""
    late = attempt(2, time=103.0, duration_s=1.0, first_content_s=0.25)
    found = await told(started(), attempt(outcome="timeout", duration_s=1.0), late, finished(3.0))
    assert found["nexus_run_time_to_first_token_seconds_sum{}"] == pytest.approx(2.25)
    assert found["nexus_attempt_time_to_first_token_seconds_sum{model=main}"] == 0.25


async def test_retries_and_fallbacks_are_told_apart() -> None:
    """The same model of a call again is a retry, another one a fallback, and a second call neither."""
    rows = [attempt(1, outcome="timeout"), attempt(2, outcome="timeout"), attempt(3, model="spare")]
    found = await told(started(), *rows, attempt(1, call_id="d"))
    assert found["nexus_retries_total{model=main}"] == 1
    assert found["nexus_fallbacks_total{model=spare}"] == 1
    assert found["nexus_attempts_total{model=main,outcome=timeout}"] == 2
    assert "nexus_fallbacks_total{model=main}" not in found


async def test_an_answer_of_the_cache_is_no_request() -> None:
    """It is a row, counted apart, and in no time and no tokens of the model."""
    row = attempt(from_cache=True, request_sent=False, duration_s=0.5, first_content_s=0.5, prompt_tokens=0)
    found = await told(started(), row, finished(3.0))
    assert found["nexus_cached_answers_total{model=main}"] == 1
    assert found["nexus_attempts_total{model=main,outcome=ok}"] == 1
    assert not [name for name in found if "nexus_attempt_" in name or "tokens_total" in name]


async def test_what_is_unknown_is_no_zero() -> None:
    """A request without counts is counted as such, one that never left is not."""
    found = await told(attempt(prompt_tokens=None), attempt(outcome="connect", request_sent=False))
    assert found["nexus_attempts_without_usage_total{model=main}"] == 1
    assert not [name for name in found if "tokens_total" in name]


@pytest.mark.parametrize(
    ("kind", "outcome", "result"),
    [
        ("cancelled", "cancelled", "cancelled"),
        ("rate_limit", "rate_limit", "failed"),
        ("SourceError", "SourceError", "failed"),
        ("kind-of-a-plugin", "other", "failed"),
    ],
)
async def test_a_run_that_failed_is_counted_by_its_kind(kind: str, outcome: str, result: str) -> None:
    """Kinds that the project does not have are one series together."""
    found = await told(started(), failed(kind))
    assert found[f"nexus_runs_total{{outcome={outcome}}}"] == 1
    assert found[f"nexus_run_duration_seconds_count{{result={result}}}"] == 1


async def test_waits_restarts_and_steps_are_counted() -> None:
    """A skipped step takes no time."""
    wait = Waiting(run_id="r", time=1.0, call_id="c", model="main", why="queued", wait_s=1.0)
    void = StreamRestarted(run_id="r", time=1.0, call_id="c", model="main", kind="truncated")
    steps = [
        StepFinished(run_id="r", time=1.0, step=0, verb="rank", skipped=skipped, duration_s=0.5, items=3)
        for skipped in (False, True)
    ]
    found = await told(wait, void, *steps)
    assert found["nexus_waits_total{model=main,reason=queued}"] == 1
    assert found["nexus_stream_restarts_total{model=main}"] == 1
    assert found["nexus_step_duration_seconds_count{verb=rank}"] == 1


async def test_runs_are_in_flight_until_they_end_or_are_forgotten() -> None:
    """An end that was lost in a full queue leaves no run in flight for ever, and no memory of many."""
    figures = RunCounters()
    for number in range(MOST_RUNS + 5):
        figures.record(started(f"r{number}", at=time()))
    assert figures.in_flight(time()) == MOST_RUNS
    figures.record(finished(run_id=f"r{MOST_RUNS}"))
    assert figures.in_flight(time()) == MOST_RUNS - 1
    assert figures.in_flight(time() + LONGEST_S + 1) == 0


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=8), st.integers(1, 4), st.floats(0, 10)), max_size=20))
def test_the_number_of_series_has_a_bound(rows: list[tuple[str, int, float]]) -> None:
    """Whatever outcomes are told, a model has at most so many series as there are known outcomes."""
    figures = RunCounters()
    for outcome, number, seconds in rows:
        figures.record(attempt(number, outcome=outcome, duration_s=seconds))
        figures.record(failed(outcome))
    outcomes = {s.labels["outcome"] for f in figures.registry.collect() for s in f.samples if "outcome" in s.labels}
    assert outcomes <= known_outcomes() | {"other"}


async def test_a_pipeline_gives_the_sink_its_name_its_breakers_and_its_drops(tmp_path: Path) -> None:
    """What only the pipeline knows is looked up when somebody asks; opened again, the figures go on."""
    (tmp_path / "p.yaml").write_text(PIPELINE)
    pipeline = Pipeline.load(tmp_path / "p.yaml")
    for _ in range(2):
        async with pipeline:
            await pipeline.run("What is it?", items=[Item(id="1", text="It is a test.")])
    (sink,) = pipeline.sinks
    assert isinstance(sink, Prometheus)
    found = dict(series(sink))
    assert found["nexus_runs_total{outcome=ok}"] == 2
    assert found["nexus_breaker_state{model=main,state=closed}"] == 1
    assert found["nexus_step_duration_seconds_count{verb=generate}"] == 2
    assert {s.labels["pipeline"] for family in sink.collect() for s in family.samples} == {"handbook"}


async def test_dropped_events_of_every_sink_are_told(tmp_path: Path) -> None:
    """Fault 108: a queue has a bound, and what it drops is seen; two sinks of one name hide nothing of each other."""
    (tmp_path / "p.yaml").write_text(PIPELINE.replace("sinks: [", "sinks: [log, log, "))
    async with Pipeline.load(tmp_path / "p.yaml") as pipeline:
        for queue in pipeline._fanout.queues[:2]:
            queue._size = 0
        await pipeline.run("What is it?", items=[Item(id="1", text="It is a test.")])
        found = dict(series(pipeline.sinks[2]))  # type: ignore[arg-type]
        assert found["nexus_sink_dropped_events_total{sink=log}"] == 2 * pipeline._fanout.queues[0].dropped > 2
        assert "nexus_sink_dropped_events_total{sink=prometheus}" not in found


async def test_two_sinks_share_nothing() -> None:
    """Each has a registry of its own, never the global one."""
    from prometheus_client import REGISTRY

    async with Prometheus() as one, Prometheus() as other:
        one.emit(started())
        one.emit(finished())
        assert (dict(series(one)) != {}, dict(series(other))) == (True, {})
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("nexus_")]


def test_a_sink_that_is_not_open_has_no_figures() -> None:
    """It says so at an event, and tells nothing to who collects."""
    sink = Prometheus()
    assert list(sink.collect()) == []
    with pytest.raises(RuntimeError, match="not open"):
        sink.emit(started())


async def test_the_reference_has_every_family_that_is_exported() -> None:
    """Name, type, labels and meaning, as they are declared; and what is declared is exported."""
    lines = fill(PAGE.read_text("utf-8")).splitlines()
    for family in (*FAMILIES, *LIVE):
        labels = ", ".join(f"`{label}`" for label in family.labels)
        assert f"| `{family.name}` | {family.kind} | {labels} | {family.help} |" in lines
    async with Prometheus() as sink:
        exported = {family.name + ("_total" if family.type == "counter" else "") for family in sink.collect()}
    assert exported == {family.name for family in (*FAMILIES, *LIVE)}


@pytest.mark.parametrize("family", [*FAMILIES, *LIVE], ids=lambda family: family.name)
def test_names_follow_the_conventions_of_prometheus(family: Any) -> None:
    """A prefix, base units, `_total` for counters and for nothing else."""
    assert re.fullmatch(r"nexus_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    if family.kind == "histogram":
        assert family.name.endswith(("_seconds", "_ratio"))


def test_a_missing_library_is_named_with_its_extra_where_the_sink_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipeline does not load, and the message is the command that mends it."""
    monkeypatch.setattr(optional_imports, "find_spec", lambda name: None)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    with pytest.raises(ConfigError, match=r"p\.yaml:6:\d+.*pip install 'contextnexus\[metrics\]'"):
        Pipeline.load(tmp_path / "p.yaml")


async def test_calls_of_tools_are_counted_by_tool_and_outcome() -> None:
    """Names that a model makes up are no labels; what did not run has no duration."""
    outcomes = [("search", "ok"), ("search", "timeout"), ("search", "invalid"), ("made up", "unknown"), ("x", "new")]
    calls = [
        ToolFinished(run_id="r", time=101.0, call_id="c", round=1, number=1, name=name, outcome=outcome, duration_s=0.5)
        for name, outcome in outcomes
    ]
    found = await told(started(), *calls, finished())
    counted = {name: value for name, value in found.items() if name.startswith("nexus_tool_calls_total")}
    assert counted == {
        f"nexus_tool_calls_total{{tool={tool},outcome={outcome}}}": 1.0
        for tool, outcome in [
            ("search", "ok"), ("search", "timeout"), ("search", "invalid"), ("other", "unknown"), ("other", "other"),
        ]
    }  # fmt: skip
    assert found["nexus_tool_call_duration_seconds_count{tool=search}"] == 2
    assert not any("made up" in name for name in found)
