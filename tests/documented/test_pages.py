"""The tutorial and the how-to pages do what they say: files are written, commands and snippets run, in order."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from generated_pages import fill, key_tables

from nexus_core.config.check import check
from nexus_core.engine.plugins import PluginRegistry
from tests.store.contract.conftest import new_database, postgres_server  # noqa: F401 - fixtures
from tests.test_readme import ENVIRONMENT, blocks, run

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = tuple(DOCS / "tutorial" / f"first-{name}.md" for name in ("answer", "pipeline", "ranker", "connector"))
HOW_TO = tuple(page for page in sorted((DOCS / "how-to").glob("*.md")) if any(blocks(page)))
"""All that have a file, a command or a snippet; `openai` and `rankers` have tests of their own besides."""


def command_of(line: str) -> list[str]:
    """Return the words of a command; `python` is the one that runs the tests."""
    words = shlex.split(line)
    return [sys.executable, *words[1:]] if words[0] == "python" else words


def follow(page: Path, folder: Path, here: Mapping[str, str] | None = None) -> list[str]:
    """Do what a page says, and return what its commands and snippets printed.

    Servers run until the page ends, as in terminals of their own. `here` tells by what this machine stands in for
    what a page names, such as a port.
    """
    printed = []
    with ExitStack() as servers:
        for what, name, body in blocks(page):
            for theirs, ours in (here or {}).items():
                body = body.replace(theirs, ours)
            if what == "file":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(body)
            elif what == "run":
                printed.append(run([sys.executable, "-c", body], folder))
            else:
                for line in (line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ ")):
                    command, _, kept = line.partition(" > ")
                    if command.startswith("nexus store copy "):
                        servers.close()  # the page says so
                    if command.startswith("nexus serve "):
                        servers.enter_context(serving(command_of(command), folder))
                        continue
                    printed.append(run(command_of(command), folder))
                    if kept:
                        (folder / kept).write_text(printed[-1])
    return printed


@contextmanager
def serving(words: list[str], folder: Path) -> Iterator[None]:
    """Run a server, from when it listens."""
    command = [sys.executable, "-m", "nexus_core.cli.main", *words[1:]]
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            said = []
            for line in server.stderr:
                said.append(line)
                if "listening on" in line:
                    break
            else:
                raise AssertionError("".join(said))
            yield
        finally:
            server.terminate()


@pytest.mark.slow
def test_the_tutorial_runs_as_written_from_its_first_page_to_its_last(tmp_path: Path) -> None:
    """Each page goes on in the folder of the one before, and shows what it says."""
    answer, pipeline, ranker, connector = (follow(page, tmp_path) for page in TUTORIAL)
    assert "leave.md" in answer[1]
    assert "five days" in answer[-1]
    assert "five days" in pipeline[1]
    assert "second class" in pipeline[3]
    assert re.search(r"titled [1-9]|titled +[1-9]", ranker[1]), ranker[1]
    assert "passed" in ranker[2]
    shown = re.findall(r"^ *(?:titled +)?(nDCG@10|MRR@10) +(\S+ .*\]) +(\S+) +(\w*)$", ranker[3], re.MULTILINE)
    claimed = TUTORIAL[2].read_text("utf-8")
    assert [row[0] for row in shown] == ["nDCG@10", "MRR@10"], ranker[3]
    assert all(figure in claimed for row in shown for figure in row), shown
    assert "five days" in connector[1]
    assert "passed" in connector[3]
    assert (tmp_path / "contextnexus-acme" / "pyproject.toml").exists()


@pytest.mark.slow
def test_a_store_goes_from_a_laptop_to_two_servers_as_written(
    tmp_path: Path,
    new_database: Callable[[], str],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What each person is told is what the page shows, from the folder and from Postgres, until the context is gone."""
    monkeypatch.setitem(ENVIRONMENT, "NEXUS_STORE_CACHE", str(tmp_path / "cache"))
    page = DOCS / "tutorial" / "team-server.md"
    with ExitStack() as held:
        free = [held.enter_context(socket.socket()) for _ in range(3)]
        for each in free:
            each.bind(("127.0.0.1", 0))
        ports = [str(each.getsockname()[1]) for each in free]
    here = dict(zip(("8000", "8001", "8002"), ports, strict=True)) | {
        "postgresql://nexus@127.0.0.1/nexus": new_database()
    }
    (shown,) = re.findall(r"```text\n(ann of .*?)```", page.read_text("utf-8"), re.DOTALL)
    laptop, one, two, after = (text for text in follow(page, tmp_path, here) if text.startswith("ann of"))
    assert laptop == one == two == shown
    assert after == re.sub(r"(of handbook: ).*", r"\g<1>404 context_not_found", shown)


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
