"""A model of the file, named where an option wants a connector."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core.config.check import check
from nexus_core.config.spec import ComponentSpec, ModelReference, RankSpec
from nexus_core.engine.plugins import PluginRegistry

TEXT = """name: x
models:
  main: {{use: extractive}}
  {name}: {{use: openai, model: m, aliases: [nick]}}
steps:
  - rank: {rank}
  - prompt: qa
  - generate: main
"""


def model_of(rank: str, name: str = "judge", used: str = "main") -> Any:
    """Return what the option `model` of the ranker is; the file must have no problem, also no warning."""
    text = TEXT.format(name=name, rank=rank)
    if used == name:
        text = text.replace("  main: {use: extractive}\n", "").replace("generate: main", f"generate: {name}")
    checked = check(text, "x.yaml", PluginRegistry.installed(), {})
    assert not [problem for problem in checked.problems if problem.code != "O007"]
    assert checked.spec is not None
    step = checked.spec.steps[0]
    assert isinstance(step, RankSpec)
    found = step.ranker
    while "rankers" in found.options:
        found = found.options["rankers"][-1]
    return found.options["model"]


@pytest.mark.parametrize("written", ["judge", "nick"])
@pytest.mark.parametrize(
    "rank",
    [
        "{{use: rerank, model: {0}}}",
        "{{use: semantic, model: {0}}}",
        "{{use: fuse, rankers: [bm25, {{use: semantic, model: {0}}}]}}",
    ],
    ids=["connector", "text or connector", "nested"],
)
def test_a_model_is_named_where_a_connector_is_wanted(rank: str, written: str) -> None:
    """By its name or alias, also where a text could stand; so named it is used."""
    found = model_of(rank.format(written))
    assert isinstance(found, ModelReference)
    assert found.name == "judge"


def test_what_a_file_declares_goes_before_what_plugins_offer() -> None:
    """A model that is called like a plugin or a word of the option is meant by its name."""
    assert isinstance(model_of("{use: rerank, model: extractive}", name="extractive"), ModelReference)
    assert isinstance(model_of("{use: semantic, model: static}", name="static"), ModelReference)


@pytest.mark.parametrize(
    ("rank", "kind"),
    [("{use: rerank, model: {use: extractive}}", ComponentSpec), ("{use: semantic, model: all-MiniLM}", str)],
    ids=["mapping", "text"],
)
def test_what_names_no_model_stays_what_it_is(rank: str, kind: type) -> None:
    """A connector of its own, and the name of a model of sentences."""
    assert isinstance(model_of(rank, used="judge"), kind)


def test_an_unknown_name_is_no_connector() -> None:
    """Where only a connector will do, it is found before anything runs."""
    checked = check(TEXT.format(name="judge", rank="{use: rerank, model: jugde}"), "x", PluginRegistry.installed(), {})
    assert any("jugde" in problem.message for problem in checked.problems)
