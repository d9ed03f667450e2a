"""`where` of a gather step: of any source, held to by the source itself where it can."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_core import ConfigError, Pipeline

PIPELINE = """name: a
models: {main: {use: extractive}}
steps:
  - gather: {use: inline, items: [{id: old, text: Old rates, metadata: {year: 1999}}, {id: new, text: Rates}], WHERE}
  - rank: bm25
  - prompt: {template: qa, budget: 500}
  - generate: main
"""


def load(folder: Path, where: str) -> Pipeline:
    file = folder / "a.yaml"
    file.write_text(PIPELINE.replace("WHERE", where))
    return Pipeline.load(file)


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("where: {year: {lt: 2000}}", ["old"]),
        ("where: {year: {exists: false}}", ["new"]),
        ("where: {}", ["old", "new"]),
    ],
)
async def test_a_gather_step_filters_the_items_of_any_source(tmp_path: Path, where: str, kept: list[str]) -> None:
    """By the fields of their metadata; without conditions all pass."""
    async with load(tmp_path, where) as pipeline:
        found = await pipeline.explain("rates")
    assert sorted(entry.item_id for entry in found.prompt.trace) == sorted(kept)


@pytest.mark.parametrize(
    ("where", "told"),
    [("where: {year: {gtr: 1}}", "did you mean 'gt'"), ("where: year", "mapping"), ("where: [1]", "mapping")],
)
def test_what_is_wrong_with_a_filter_is_found_by_lint(tmp_path: Path, where: str, told: str) -> None:
    """With its place, before anything runs."""
    with pytest.raises(ConfigError) as error:
        load(tmp_path, where)
    (problem,) = error.value.problems
    assert told in problem.message
    assert problem.line == 4


def test_the_store_filters_within_its_search(tmp_path: Path) -> None:
    """Its own option takes the place of the step's, and is checked as well."""
    file = tmp_path / "a.yaml"
    file.write_text(PIPELINE.replace("use: inline", "use: store").replace("WHERE", "where: {year: {gtr: 1}}"))
    text = file.read_text()
    begin, end = text.index(", items:"), text.index("], where")
    file.write_text(text[:begin] + text[end + 1 :])
    with pytest.raises(ConfigError) as error:
        Pipeline.load(file)
    assert "did you mean 'gt'" in error.value.problems[0].message


def test_a_wrong_choice_is_told_the_choices_that_have_a_text(tmp_path: Path) -> None:
    """Not the one of saying nothing, which stands for what is usual."""
    file = tmp_path / "a.yaml"
    file.write_text("name: a\nsteps:\n  - gather: {use: store, context: c, by: magic}\n  - rank: bm25\n")
    with pytest.raises(ConfigError, match="`by` must be words, meaning or both, found 'magic'"):
        Pipeline.load(file)
