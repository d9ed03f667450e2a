"""Run context: what reaches sources and rankers, through whatever holds them, and what is said to those without it."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from attrs import define, field
from nexus_rankers.fuse import Fuse

from nexus_core import ConfigError, DeadlineError, Pipeline, Ranking, RunContext
from nexus_core.config.check import check
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry

PLUGIN = '''
from nexus_core import Item, component, hookimpl, injected, option, ranker, state

SEEN = []

@component
class Note:
    """Notes its run."""
    async def rank(self, query, ranking, run):
        SEEN.append(run)
        return ranking.scored("note", [0.0] * len(ranking.items))

@component
class Mine:
    """Yields an item."""
    base_dir: str = injected(default=".")
    shared: object = injected()
    async def gather(self, query, run):
        SEEN.append(run)
        return [Item(id="a", text=self.base_dir)]

@ranker
def plain(query, items, *, bonus: float = 1.0):
    """Scores all alike."""
    return [bonus] * len(items)

@hookimpl
def nexus_rankers():
    return [Note, plain]

@hookimpl
def nexus_sources():
    return [Mine]
'''
YAML = """name: noted
models: {main: {use: extractive}}
steps:
  - gather: mine
  - rank: mine.note
  - rank: {use: fuse, rankers: [mine.note, mine.plain, {use: fuse, rankers: [mine.note]}]}
  - prompt: qa
  - generate: main
"""


def load(folder: Path, plugin: str = PLUGIN, text: str = YAML) -> tuple[Pipeline, Any]:
    """Return a pipeline with a plugin beside it, and the list of what that has seen."""
    (folder / "mine.py").write_text(plugin)
    (folder / "noted.yaml").write_text(text)
    catalogue = PluginRegistry.installed().with_files([folder / "mine.py"])
    pipeline = Pipeline.load(folder / "noted.yaml", environment={}, catalogue=catalogue)
    return pipeline, sys.modules[catalogue.component(Kind.SOURCE, "mine").__module__]


async def test_run_context_reaches_every_source_and_ranker_however_deep(tmp_path: Path) -> None:
    """One run, one context, in a nested ranker as in a step of its own; rankers that are functions do without."""
    pipeline, plugin = load(tmp_path)
    async with pipeline:
        await pipeline.run("Where is it?", run_id="r1", context_id="notes", deadline_s=30)
    assert len(plugin.SEEN) == 4
    for run in plugin.SEEN:
        assert isinstance(run, RunContext)
        assert (run.run_id, run.query, run.context_id, run.owner) == ("r1", "Where is it?", "notes", "")
        assert run.viewer is None
        assert 0 < (run.left_s() or 0.0) <= 30


async def test_run_context_is_there_where_a_run_is_explained(tmp_path: Path) -> None:
    """`explain` runs the same steps, and no time is up."""
    pipeline, plugin = load(tmp_path)
    async with pipeline:
        await pipeline.explain("Where is it?", context_id="notes")
    assert {(run.context_id, run.left_s()) for run in plugin.SEEN} == {("notes", None)}


async def test_injected_fields_are_filled_in(tmp_path: Path) -> None:
    """A component that declares them gets the folder of its file and the resources of the process."""
    pipeline, _ = load(tmp_path)
    async with pipeline:
        prepared = await pipeline.prepare("Where is it?")
    assert [item.text for item in prepared.state.ranking.items] == [str(tmp_path)]
    step: Any = pipeline._plan.steps[0].step
    assert step.source.shared is pipeline._plan.resources.shared


def test_left_s_raises_when_the_time_is_up() -> None:
    """Whoever asks after the end hears so."""
    with pytest.raises(DeadlineError, match="time that the caller gave"):
        RunContext(ends_at=perf_counter() - 1).left_s()


@define(eq=False)
class Keeps:
    """Keeps the run it was given."""

    runs: list[RunContext] = field(factory=list)

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        """Score all alike."""
        self.runs.append(run)
        return ranking.scored("keeps", [0.0] * len(ranking.items))


async def test_fuse_hands_on_the_very_run_it_was_given() -> None:
    """So does every ranker that holds others."""
    inner, run = Keeps(), RunContext(run_id="x")
    await Fuse(rankers=(inner,)).rank("", Ranking(()), run)
    assert inner.runs == [run]


OLD = {
    "rank": (
        "async def rank(self, query, ranking, run):",
        "async def rank(self, query, ranking):",
        "async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:",
    ),
    "rank with an option of its own": (
        "async def rank(self, query, ranking, run):",
        "async def rank(self, query, ranking, top=3):",
        "async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:",
    ),
    "gather": (
        "async def gather(self, query, run):",
        "async def gather(self, query):",
        "async def gather(self, query: str, run: RunContext) -> Sequence[Item]:",
    ),
    "gather with the context of before": (
        "async def gather(self, query, run):",
        "async def gather(self, query, *, context_id=None):",
        "async def gather(self, query: str, run: RunContext) -> Sequence[Item]:",
    ),
    "base_dir as state": (
        'base_dir: str = injected(default=".")',
        'base_dir: str = state(default=".")',
        'base_dir: str = injected(default=".")',
    ),
    "pipeline of a source": ("shared: object = injected()", "pipeline: object = injected()", "base_dir and shared"),
}


@pytest.mark.parametrize("case", OLD)
def test_plugin_of_before_fails_at_load_with_the_line_to_write(tmp_path: Path, case: str) -> None:
    """Not in the middle of a run, and lint says the same at the place in the file."""
    now, before, line = OLD[case]
    old = PLUGIN.replace(now, before)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, old)
    assert line in str(caught.value)
    catalogue = PluginRegistry.installed().with_files([tmp_path / "mine.py"])
    found = check(YAML.encode(), "noted.yaml", catalogue, {})
    assert any(line in problem.message and problem.line for problem in found.problems)


def test_plugins_that_take_any_arguments_or_name_the_run_differently_are_fine(tmp_path: Path) -> None:
    """The run is given by its place, so that a ranker that does not need it may say so."""
    new = PLUGIN.replace("async def gather(self, query, run):\n        SEEN.append(run)", "async def gather(self, *_):")
    new = new.replace("async def rank(self, query, ranking, run):", "async def rank(self, query, ranking, _):")
    load(tmp_path, new.replace("SEEN.append(run)", "SEEN.append(_)"))
