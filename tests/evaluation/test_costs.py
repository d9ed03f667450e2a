"""What a query costs: requests before the answer, the prompt for it, processor time; and a warning in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_core import AttemptFinished, ModelInfo, ModelPrices, Prompt
from nexus_core.engine.models import Model
from nexus_core.engine.plan import load_plan
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.evaluation.beir import BeirFiles, read_collection
from nexus_core.evaluation.costs import QueryCost, cost_cells, cost_json, cost_of, mean_cost
from nexus_core.evaluation.report import build_report, report_json
from nexus_core.evaluation.trial import Trial, TrialSettings, measurable, run_trial
from nexus_core.testing.fakes import FakeConnector

INFO = ModelInfo(id="m-1", provider="fake", window=8192, prices=ModelPrices(input=2.0, output=8.0))
MODEL = Model(name="main", connector=FakeConnector(), info=INFO)
PIPELINE = """
name: mine
models: {main: {use: extractive, prices: {input: 2, output: 8}}}
steps:
  - rank: bm25
  - prompt: PROMPT
  - generate: main
"""


def row(sent: bool = True, **told: float | None) -> AttemptFinished:
    """Return a row of a ledger."""
    return AttemptFinished(
        run_id="r", time=0.0, call_id="c", number=1, model="main", model_id="m-1", outcome="ok", request_sent=sent,
        **told,  # type: ignore[arg-type]
    )  # fmt: skip


def test_requests_before_the_answer_are_summed_with_the_prompt_for_it() -> None:
    """What was never sent costs nothing; the prompt costs what its tokens do."""
    rows = [row(prompt_tokens=10, completion_tokens=4, cost=0.5), row(prompt_tokens=5, completion_tokens=0, cost=0.25)]
    prompt = Prompt(messages=(), prompt_tokens=1_000_000)
    found = cost_of([*rows, row(sent=False)], prompt, MODEL, 0.25, 0.5)
    assert (found.requests, found.tokens_in, found.tokens_out, found.dollars) == (2, 15, 4, 0.75)
    assert (found.prompt_tokens, found.prompt_dollars) == (1_000_000, 2.0)


def test_what_is_unknown_is_never_nothing() -> None:
    """Neither of one query, nor on average; a pipeline without requests costs 0."""
    unknown = cost_of([row(prompt_tokens=None, completion_tokens=4, cost=None)], None, None, 0.0, None)
    nothing = cost_of([], None, None, 0.5, None)
    assert (unknown.tokens_in, unknown.tokens_out, unknown.dollars) == (None, 4, None)
    assert (nothing.tokens_in, nothing.dollars, nothing.prompt_dollars) == (0, 0.0, None)
    mean = mean_cost([unknown, nothing])
    assert (mean.requests, mean.tokens_in, mean.tokens_out, mean.dollars) == (0.5, None, 2.0, None)
    assert mean.ranking_cpu_ms == 250.0
    assert cost_cells(mean)[:4] == ("0.50", "unknown", "2", "unknown")
    assert cost_json(mean)["packingCpuMs"] is None


def test_means_are_over_all_queries() -> None:
    """Those of what each took."""
    costs = [QueryCost(prompt_tokens=100, packing_cpu_s=0.001), QueryCost(prompt_tokens=300, packing_cpu_s=0.003)]
    assert mean_cost(costs).prompt_tokens == 200
    assert mean_cost(costs).packing_cpu_ms == pytest.approx(2.0)


async def trial(folder: Path, prompt: str, budgets: tuple[int, ...]) -> tuple[Trial, list[str]]:
    """Run a pipeline on the collection, and return what it warned of."""
    collection, warnings = read_collection(BeirFiles.of_folder(folder)), list[str]()
    file = folder.parent / "mine.yaml"
    file.write_text(PIPELINE.replace("PROMPT", prompt))
    plan = measurable(load_plan(file, PluginRegistry.installed(), {}), collection)
    settings = TrialSettings(budgets=budgets)
    found = await run_trial(plan, collection, settings, lambda: None, warnings.append)
    told = report_json(build_report(collection, settings, [found]))["pipelines"][0]["costPerQuery"]
    assert told["requests"] == 0
    assert told["promptTokens"] > 50
    assert told["promptDollars"] == pytest.approx(told["promptTokens"] * 2 / 1_000_000)
    assert told["rankingCpuMs"] >= 0
    return found, warnings


async def test_the_prompt_is_counted_where_its_bytes_already_fit(folder: Path) -> None:
    """A run need not count such a prompt; its price is by its tokens, which are far fewer than its bytes."""
    (free, _), (held, _) = await trial(folder, "qa", (256,)), await trial(folder, "{template: qa, budget: 100}", (256,))
    tokens = [cost.prompt_tokens or 0 for cost in (free.costs[0], held.costs[0])]
    assert tokens[1] <= tokens[0] < 2 * tokens[1]


async def test_a_pipeline_without_a_budget_is_warned_of_once_and_early(folder: Path) -> None:
    """Where its prompts are far larger than what is measured; the report has it as a note."""
    found, (warning,) = await trial(folder, "qa", (5, 10))
    assert "steps[1] (prompt) packs without a budget" in warning
    assert "--set steps[1].prompt.budget=4000" in warning
    assert any("without a budget" in note for note in found.notes)


@pytest.mark.parametrize(
    ("prompt", "budgets"), [("{template: qa, budget: 500}", (5, 10)), ("qa", (256, 512))], ids=["budget", "few items"]
)
async def test_there_is_no_warning_where_nothing_is_wasted(folder: Path, prompt: str, budgets: tuple[int, ...]) -> None:
    """With a budget, or where all there is to pack is little."""
    found, warnings = await trial(folder, prompt, budgets)
    assert warnings == []
    assert not any("without a budget" in note for note in found.notes)
