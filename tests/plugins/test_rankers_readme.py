"""The README of the rankers says what they do: its options, its snippets, its own rankers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse

from nexus_core import Connector, Item, Pipeline, Ranker
from nexus_core.config.check import check
from nexus_core.contract.components import OptionSpec, options_of
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.toolkit import AnyLanguage
from tests.plugins.conftest import CLASSES, column, ids, ranked, texts

README = (Path(__file__).parents[2] / "docs/how-to/rankers.md").read_text("utf-8")
WORDING: Mapping[Any, str] = {
    float: "number",
    int: "whole number",
    str: "text",
    str | None: "text",
    AnyLanguage: "`auto`, a Snowball stemmer's name or `none`",
    tuple[float, ...]: "list of numbers",
    tuple[Ranker, ...]: "list of rankers",
    bool: "true or false",
    Connector: "connector",
    str | Connector: "text or connector",
}


def row(option: OptionSpec) -> str:
    """Return the line of the table for an option."""
    known = WORDING.get(option.annotation)
    if known is None:
        assert get_origin(option.annotation) is Literal
        *most, last = (f"`{value}`" for value in get_args(option.annotation))
        known = f"{', '.join(most)} or {last}"
    default = "required" if option.required else "none" if option.default in (None, (), "") else f"`{option.default}`"
    if isinstance(option.default, bool):
        default = default.lower()
    return f"| `{option.name}` | {known} | {default} | {option.help} |"


@pytest.mark.parametrize("name", CLASSES)
def test_readme_has_the_options_as_they_are_declared(name: str) -> None:
    """Name, type, default and help of each option, in order."""
    section = README.split(f"\n## `{name}`\n")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| `")] == list(
        map(row, options_of(CLASSES[name]))
    )


SNIPPETS = [body for body in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if not body.startswith("name:")]


@pytest.mark.parametrize(
    "body", SNIPPETS, ids=["semantic", "links", "rerank", "cross-encoder", "mmr", "recency", "own"]
)
def test_readme_snippets_lint_in_a_pipeline(body: str, tmp_path: Path) -> None:
    """With a name, a model and the steps that follow, each is a whole pipeline without a problem."""
    (tmp_path / "concise.py").write_text(python_block("concise"), "utf-8")
    if "gather:" not in body:
        body = body.replace("steps:\n", "steps:\n  - gather: {use: inline, items: [a]}\n")
    text = f"name: n\nmodels: {{main: {{use: extractive}}}}\n{body}  - prompt: qa\n  - generate: main\n"
    assert check(text, str(tmp_path / "n.yaml"), PluginRegistry.installed(), {}).problems == ()


def python_block(naming: str) -> str:
    """Return the Python of the README that defines a name."""
    (body,) = [body for body in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if naming in body]
    return str(body)


def component_of(naming: str) -> Any:
    """Return the class that the hook of a block yields."""
    namespace: dict[str, Any] = {"__name__": "shown"}
    exec(python_block(naming), namespace)
    (cls,) = namespace["nexus_rankers"]()
    return cls


def test_readme_function_is_a_ranker() -> None:
    """Short items come first, and `length` is its option."""
    concise = component_of("concise")
    assert [(option.name, option.default) for option in options_of(concise)] == [("length", 500)]
    ranking = ranked(concise(length=4), "", texts("a long text", "text", ""))
    assert ids(ranking) == ["text", "", "a long text"]
    assert column(ranking) == pytest.approx([4 / 11, 1.0, 1.0])
    assert len([line for line in python_block("concise").splitlines() if line]) == 8


def test_readme_class_is_a_ranker() -> None:
    """Each tag that the query names adds to the score before, also to that of a ranker that ships."""
    tagged = component_of("Tagged")
    items = (Item(id="a", text="moon"), Item(id="b", text="moon", tags=("sea", "moon")))
    assert column(ranked(tagged(), "Moon sea", items)) == [0.0, 2.0]
    ranking = ranked(tagged(bonus=2.0), "moon", ranked(Bm25(), "moon", items))
    assert [name for name, _ in ranking.columns] == ["bm25", "tagged"]
    assert ids(ranking) == ["b", "a"]
    assert ids(ranked(Fuse(rankers=(Bm25(), tagged())), "moon", items))[0] == "b"


async def test_readme_function_runs_in_a_pipeline(tmp_path: Path) -> None:
    """Beside the pipeline, as the README says, it is found and ranks."""
    (tmp_path / "concise.py").write_text(python_block("concise"), "utf-8")
    (tmp_path / "n.yaml").write_text(
        "name: n\nplugins: [./concise.py]\nmodels: {main: {use: extractive}}\nsteps:\n"
        "  - gather: {use: inline, items: [The moon pulls the sea.]}\n  - rank: {use: concise, length: 800}\n"
        "  - prompt: qa\n  - generate: main\n",
        "utf-8",
    )
    async with Pipeline.load(tmp_path / "n.yaml") as pipeline:
        assert "The moon pulls the sea." in (await pipeline.run("What pulls the sea?")).text


def test_readme_names_nothing_of_one_machine() -> None:
    """No absolute path stands in it."""
    assert re.findall(r"(?<![\w.])/(?:home|work|tmp|usr|Users)\b", README) == []
