"""The tutorial and the how-to pages do what they say: files are written, commands and snippets run, in order."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from generated_pages import fill, key_tables

from nexus_core.config.check import check
from nexus_core.engine.plugins import PluginRegistry
from tests.test_readme import blocks, run

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = tuple(DOCS / "tutorial" / f"first-{name}.md" for name in ("answer", "pipeline", "ranker", "connector"))
HOW_TO = tuple(page for page in sorted((DOCS / "how-to").glob("*.md")) if any(blocks(page)))
"""All that have a file, a command or a snippet; `openai` and `rankers` have tests of their own besides."""


def command_of(line: str) -> list[str]:
    """Return the words of a command; `python` is the one that runs the tests."""
    words = shlex.split(line)
    return [sys.executable, *words[1:]] if words[0] == "python" else words


def follow(page: Path, folder: Path) -> list[str]:
    """Do what a page says, and return what its commands and snippets printed."""
    printed = []
    for what, name, body in blocks(page):
        if what == "file":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(body)
        elif what == "run":
            printed.append(run([sys.executable, "-c", body], folder))
        else:
            lines = [line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ ")]
            printed += [run(command_of(line), folder) for line in lines]
    return printed


@pytest.mark.slow
def test_the_tutorial_runs_as_written_from_its_first_page_to_its_last(tmp_path: Path) -> None:
    """Each page goes on in the folder of the one before, and shows what it says."""
    answer, pipeline, ranker, connector = (follow(page, tmp_path) for page in TUTORIAL)
    assert "leave.md" in answer[1]
    assert "five days" in answer[-1]
    assert "five days" in pipeline[1]
    assert "second class" in pipeline[3]
    assert re.search(r"titled [1-9]|titled +[1-9]", ranker[1]), ranker[1]
    assert "passed" in ranker[-1]
    assert "five days" in connector[1]
    assert "passed" in connector[3]
    assert (tmp_path / "contextnexus-acme" / "pyproject.toml").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_a_how_to_page_runs_as_written(page: Path, tmp_path: Path) -> None:
    """In an empty folder, without a key and without a network."""
    assert any(follow(page, tmp_path))


@pytest.mark.slow
def test_the_answers_that_are_compared_differ_as_their_page_says(tmp_path: Path) -> None:
    """Else it showed nothing of what it is about."""
    page = DOCS / "how-to" / "measure-answers.md"
    table = follow(page, tmp_path)[-1].split("Answers against the known ones")[1].splitlines()
    for row, figures in zip(table[2:4], ((".261", "1.000"), (".347", ".500")), strict=True):
        assert re.findall(r"(\S+) \[", row)[1:] == list(figures)
        assert all(text in page.read_text("utf-8") for text in figures)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_every_pipeline_of_a_page_lints(page: Path, tmp_path: Path) -> None:
    """A whole pipeline shown on any page is a valid one."""
    for what, name, body in blocks(page):
        if what == "file":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(body)
    for body in re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        if body.startswith("name:") or "\nname:" in body:
            checked = check(body, str(tmp_path / "example.yaml"), PluginRegistry.installed(), {"OPENAI_API_KEY": "k"})
            assert [str(problem) for problem in checked.problems if problem.severity == "error"] == []


def test_every_mapping_of_the_language_has_its_table_on_the_page() -> None:
    """Made from the declaration: a mapping that is added must be given its place."""
    page = (DOCS / "reference" / "pipelines.md").read_text("utf-8")
    assert sorted(re.findall(r"^<!-- table: (\w+) -->$", page, re.MULTILINE)) == sorted([*key_tables(), "codes"])
    assert "<!-- table" not in fill(page)
