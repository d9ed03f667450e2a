"""Caps of requests and of calls of tools: they hold over a pipeline and all that it calls, in random runs, too."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Pipeline, RequestCapError
from nexus_core.engine.calls.call import Allowance
from tests.engine.composition.conftest import CALLED, TWICE

Load = Callable[..., Pipeline]
Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("outer", "inner", "named", "made"),
    [(2, 9, "outer", 2), (9, 1, "other", 1), (2, 2, "outer", 2), (3, 2, "", 3)],
    ids=["the caller's", "its own", "both, and the caller's is reached", "none is reached"],
)
async def test_the_cap_of_a_run_holds_over_the_pipelines_that_it_calls(
    load: Load, write: Write, outer: int, inner: int, named: str, made: int
) -> None:
    """The error says whose cap it is, and no request is made beyond it."""
    write(TWICE, name="other", more=f"calls: {{requests: {inner}}}")
    rows: list[Any] = []
    async with load(CALLED, more=f"calls: {{requests: {outer}}}") as pipeline:
        for _ in range(2):  # each run anew
            rows.clear()
            if named:
                with pytest.raises(RequestCapError, match=f"`calls.requests` of pipeline '{named}'"):
                    await pipeline.run("leave", on_event=rows.append)
            else:
                assert (await pipeline.run("leave", on_event=rows.append)).text == "leave"
            assert [row.type for row in rows].count("attempt_finished") == made


async def test_what_is_tried_again_counts(load: Load) -> None:
    """Where no request is left, the failure itself is the error."""
    models = "main: {use: own.echo, fails: true, retry: {attempts: 9, first_wait: 1ms, longest_wait: 1ms}}"
    async with load("- generate: main\n", models=models, more="calls: {requests: 2}") as pipeline:
        with pytest.raises(Exception, match="it is down") as raised:
            await pipeline.run("leave")
    assert len(raised.value.attempts) == 2  # type: ignore[attr-defined]


async def test_what_tools_ask_for_counts_and_a_request_is_kept_for_the_answer(load: Load, write: Write) -> None:
    """Of five pipelines that are called at once those run that there are requests for; the model reads of the rest."""
    write("- generate: main\n", name="other")
    steps = "- generate: {model: main, tools: [{use: pipeline, pipeline: ./other.yaml}]}\n"
    models = "main: {use: own.echo, calls: other, times: 5}"
    async with load(steps, models=models, more="calls: {attempts: 4}") as pipeline:
        answer = await pipeline.run("leave")
    assert [row.model for row in answer.attempts] == ["main", "other/main", "other/main", "main"]
    assert [told.outcome for told in answer.tools] == ["ok", "ok", "error", "error", "error"]
    assert "`calls.attempts` of pipeline 'outer' allows steps[0]" in (answer.tools[-1].result or "")


async def test_calls_of_the_pipelines_that_tools_call_count(load: Load, write: Write) -> None:
    """`tool_calls` bounds all of them together."""
    write("- generate: main\n", name="third")
    tools = "- generate: {{model: main, tools: [{{use: pipeline, pipeline: ./{}.yaml}}], tool_calls: {}}}\n"
    write(tools.format("third", 9), name="other", models="main: {use: own.echo, calls: third, times: 4}")
    async with load(tools.format("other", 3), models="main: {use: own.echo, calls: other}") as pipeline:
        answer = await pipeline.run("leave")
    told = sorted((each.name, each.outcome) for each in answer.tools)
    assert told == [("other", "ok"), ("third", "ok"), ("third", "ok"), ("third", "refused"), ("third", "refused")]


def test_what_is_kept_is_left_whatever_else_is_taken() -> None:
    """A request that is kept and not made is given back once, to all caps above."""
    above = Allowance(said="above", requests=2)
    own = Allowance(said="own", requests=9, components=False, above=above)
    kept = own.reserve()
    own.take()
    with pytest.raises(RequestCapError, match="that above"):
        own.take()
    with pytest.raises(RequestCapError, match="that above"):
        own.take(of_component=True)
    assert (kept.left(), own.left(), own.requests) == (1, 0, 7)
    kept.release()
    kept.release()
    own.take(of_component=True)  # what rankers ask for is no part of the cap of a step
    assert (kept.left(), own.requests, above.requests) == (0, 8, 0)


async def test_random_runs_pass_no_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds, retries, fallbacks, failing tools and called pipelines, all at the same time: see the module's text."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
    tool_rounds = importlib.import_module("tool_rounds")
    monkeypatch.setitem(sys.modules, "tool_rounds", tool_rounds)
    (tmp_path / "drawn.py").write_text(tool_rounds.PLUGIN)
    ends, faults = await tool_rounds.random_runs(25, 7, tmp_path)
    assert faults == []
    assert ends["answered"] > 5
