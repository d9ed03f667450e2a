"""Pipelines on a small collection: what is run, what is packed, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nexus_core import RunError, UsageError
from nexus_core.engine.plan import load_plan
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.evaluation.beir import BeirFiles, read_collection
from nexus_core.evaluation.collection import JudgedCollection
from nexus_core.evaluation.report import build_report, report_json
from nexus_core.evaluation.trial import Trial, TrialSettings, measurable, run_trial

HEAD = "name: mine\nplugins: [./parts.py]\nmodels: {main: {use: extractive}, fixed: {use: parts}}\nsteps:\n"
STEPS = """
  - gather: {use: jsonl, path: office/corpus.jsonl, fields: {id: _id}}
  - rank: bm25
  - prompt: qa
  - generate: main
"""
PARTS = '''
from nexus_core import Chunk, Completion, ModelInfo, component, hookimpl, ranker

@component
class Fixed:
    """Answers the same to everything."""

    @property
    def model_info(self):
        return ModelInfo(id="fixed", provider="parts", window=8192)

    async def send_prompt(self, prompt, options):
        return Completion(text="lost badge", finish_reason="stop")

    async def stream_response(self, prompt, options):
        yield Chunk("lost badge", finish_reason="stop")

@ranker
def parts(query, items):
    """Fails at one query."""
    if "class" in query:
        raise ValueError("no luck")
    return [1.0 for item in items]

@hookimpl
def nexus_connectors():
    return [Fixed]

@hookimpl
def nexus_rankers():
    return [parts]
'''


@pytest.fixture
def collection(folder: Path) -> JudgedCollection:
    """The collection, with its items."""
    return read_collection(BeirFiles.of_folder(folder))


async def trial(folder: Path, collection: JudgedCollection, steps: str = STEPS, **settings: object) -> Trial:
    """Run a pipeline beside the collection."""
    (folder.parent / "parts.py").write_text(PARTS)
    (folder.parent / "mine.yaml").write_text(HEAD + steps)
    plan = load_plan(folder.parent / "mine.yaml", PluginRegistry.installed(), {})
    return await run_trial(measurable(plan, collection), collection, TrialSettings(**settings), lambda: None)  # type: ignore[arg-type]


async def test_items_of_the_collection_are_ranked_and_packed(folder: Path, collection: JudgedCollection) -> None:
    """The gather steps add nothing: that of this pipeline would find no such file."""
    found = await trial(folder, collection, STEPS.replace("corpus.jsonl", "none.jsonl"), budgets=(60, 500))
    assert found.figures[:, 0].tolist() == pytest.approx([1.0, 1.0, 1.0], abs=0.4)
    assert found.figures[:, 4:].tolist() == [[1.0, 1.0]] * 3
    assert (found.seconds["ranking"] > 0).all()
    assert (found.seconds["packing"] > 0).all()


async def test_a_pipeline_gathers_by_itself_where_the_collection_has_no_items(folder: Path) -> None:
    """Its items have the ids of the qrels."""
    with_own = read_collection(BeirFiles.of_folder(folder), with_items=False)
    found = await trial(folder, with_own)
    given = await trial(folder, read_collection(BeirFiles.of_folder(folder)))
    assert found.figures.tolist() == given.figures.tolist()


async def test_gathered_items_with_other_ids_are_an_error(folder: Path) -> None:
    """All zeros would look like a bad ranker."""
    own = read_collection(BeirFiles.of_folder(folder), with_items=False)
    with pytest.raises(UsageError, match="no relevant item for any of 3 queries: .*such as 'leave'"):
        await trial(folder, own, STEPS.replace("id: _id", "id: title"))


async def test_a_pipeline_that_gathers_nothing_needs_a_corpus(folder: Path) -> None:
    """It would have nothing to rank."""
    own = read_collection(BeirFiles.of_folder(folder), with_items=False)
    with pytest.raises(UsageError, match="no gather step"):
        await trial(folder, own, "  - rank: bm25\n")


async def test_a_small_budget_holds_less(folder: Path, collection: JudgedCollection) -> None:
    """The pipeline's own template and policy, with another budget: here whole items, or nothing."""
    steps = STEPS.replace("prompt: qa", "prompt: {template: qa, unit: item, overflow: stop, budget: 3000}")
    found = await trial(folder, collection, steps, budgets=(5, 500))
    assert np.nansum(found.figures[:, 4:], axis=0).tolist() == [0.0, 3.0]


async def test_an_earlier_generate_step_asks_its_model(folder: Path, collection: JudgedCollection) -> None:
    """Query rewriting is part of the ranking: here every query is turned into the third."""
    steps = "  - generate: {model: fixed}\n    into: query\n" + STEPS
    found = await trial(folder, collection, steps)
    assert found.figures[:, 0].tolist()[:2] == [0.0, 0.0]
    assert (found.seconds["asking"] > 0).all()
    assert found.notes[0] == "steps[0] (generate) asks a model for every query"


async def test_a_run_that_fails_says_for_which_query(folder: Path, collection: JudgedCollection) -> None:
    """With the ranker's own words."""
    with pytest.raises(RunError, match="pipeline 'mine', query 'q2': ranker 'parts' failed: ValueError: no luck"):
        await trial(folder, collection, STEPS.replace("bm25", "parts"))


async def test_a_budget_too_small_for_what_is_pinned_is_named(folder: Path, collection: JudgedCollection) -> None:
    """So that it can be left out."""
    steps = STEPS.replace("prompt: qa", "prompt: {template: qa, pin: [leave]}")
    with pytest.raises(RunError, match="query 'q1': at a budget of 5 tokens: pinned"):
        await trial(folder, collection, steps, budgets=(5,))


@pytest.mark.parametrize(
    ("steps", "note"),
    [
        pytest.param(STEPS.replace("  - rank: bm25\n", ""), "nothing ranks the items", id="unranked"),
        pytest.param("  - rank: bm25\n", "nothing is packed", id="ranking-only"),
        pytest.param("  - rank: bm25\n  - generate: main\n", "nothing is packed", id="no-prompt"),
        pytest.param(STEPS.replace("- generate: main", "- generate: fixed"), "counted approximately", id="approximate"),
        pytest.param(STEPS.replace("- generate: main", "- generate: fixed"), "budgets above that", id="small-window"),
    ],
)
async def test_what_a_reader_of_the_figures_must_know_is_noted(
    folder: Path, collection: JudgedCollection, steps: str, note: str
) -> None:
    """Once, however many queries there are."""
    found = await trial(folder, collection, steps, budgets=(100, 9000))
    assert sum(note in said for said in found.notes) == 1


async def test_a_report_tells_means_intervals_and_differences(folder: Path, collection: JudgedCollection) -> None:
    """A mean is that of the queries; the baseline has no difference; JSON has it all."""
    first = await trial(folder, collection, budgets=(500,))
    other = await trial(folder, collection, STEPS.replace("  - rank: bm25\n", ""), budgets=(500,))
    report = build_report(collection, TrialSettings(budgets=(500,)), [first, other, first])
    told = report_json(report, per_query=True)
    assert told["pipelines"][0]["measures"]["MAP"]["mean"] == pytest.approx(first.figures[:, 3].mean())
    assert [bool(line["differences"]) for line in told["pipelines"]] == [False, True, True]
    assert told["pipelines"][2]["differences"]["MAP"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "pHolm": 1.0}
    assert told["pipelines"][1]["perQuery"][0]["query"] == "q1"
    assert set(told["pipelines"][0]["answerRecall"]) == {"500"}
    assert told["collection"]["queriesWithAnswers"] == 3
