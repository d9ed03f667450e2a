"""The README does what it says: its files are written, its commands and snippets run, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from generated_pages import pages as generated_pages

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"(?:<!-- (file: (?P<file>\S+)|run) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)```\n", re.DOTALL)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}


def blocks(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (what to do, file name, body) of each fenced block that is marked or holds commands."""
    for found in _BLOCK.finditer(path.read_text("utf-8")):
        if found["file"]:
            yield "file", found["file"], found["body"]
        elif found["language"] == "console":
            yield "console", "", found["body"]
        elif found[0].startswith("<!-- run"):
            yield "run", "", found["body"]


def run(arguments: list[str], folder: Path) -> str:
    """Run a command and return what it printed."""
    if arguments[0] == "nexus":
        arguments = [sys.executable, "-m", "nexus_core.cli.main", *arguments[1:]]
    own = {"NEXUS_STORE": str(folder / "own-store")}  # never that of who runs the tests
    done = subprocess.run(
        arguments, cwd=folder, env={**ENVIRONMENT, **own}, capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tour_of_the_readme_runs_as_written(tmp_path: Path) -> None:
    """Every file, command and snippet of the tour works, and the answer is the right one."""
    printed = []
    for what, name, body in blocks(ROOT / "README.md"):
        if what == "file":
            (tmp_path / name).write_text(body)
        elif what == "run":
            printed.append(run([sys.executable, "-c", body], tmp_path))
        else:
            commands = [line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ ")]
            printed += [run(shlex.split(command), tmp_path) for command in commands]
    assert "Up to five days may be carried over" in printed[1]
    explained = next(text for text in printed if "worded" in text)
    assert re.search(r"worded [1-9]", explained), "the tour's own ranker scores nothing"
    assert len(printed) >= 6


def test_every_link_of_every_readme_leads_somewhere() -> None:
    """No README and no page points to a file that is not there, nor is it a page that is made with the site."""
    made = {ROOT / "docs" / path for path in generated_pages()}
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in sorted(ROOT.rglob("*.md"))
        if ".venv" not in page.parts
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", re.sub(r"`[^`\n]*`", "", page.read_text("utf-8")))
        if not (page.parent / target).exists() and (page.parent / target).resolve() not in made
    ]
    assert missing == []


def test_the_connector_of_the_how_to_is_found_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """A pyproject of 15 lines and one module, installed, is found and used like the first-party plugins."""
    files = {
        name: body for what, name, body in blocks(ROOT / "docs" / "how-to" / "write-a-plugin.md") if what == "file"
    }
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    for name in ("nexus_echo.py", "pyproject.toml"):
        (package / name).write_text(files[name])
    assert len(files["pyproject.toml"].splitlines()) <= 15
    build = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    run([*build, str(package)], tmp_path)
    (tmp_path / "echo.yaml").write_text("name: e\nmodels: {main: {use: echo}}\nsteps: [{generate: main}]\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": str(site)}
    for arguments, expected in ((["plugins", "echo"], "nexus-echo 0.1.0"), (["run", "echo.yaml", "Hello?"], "Hello?")):
        done = subprocess.run(
            [sys.executable, "-m", "nexus_core.cli.main", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (done.returncode, expected in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize("page", sorted(ROOT.rglob("README.md")), ids=lambda page: str(page.relative_to(ROOT).parent))
def test_every_yaml_example_of_a_readme_lints(page: Path, tmp_path: Path) -> None:
    """A whole pipeline shown in any README is a valid one."""
    from nexus_core.config.check import check
    from nexus_core.engine.plugins import PluginRegistry

    bodies = [found["body"] for found in _BLOCK.finditer(page.read_text("utf-8")) if found["language"] == "yaml"]
    files = {name: body for what, name, body in blocks(ROOT / "README.md") if what == "file"}
    (tmp_path / "my_rankers.py").write_text(files["my_rankers.py"])
    for body in bodies:
        if body.startswith("name:") or "\nname:" in body:
            checked = check(body, str(tmp_path / "example.yaml"), PluginRegistry.installed(), {"OPENAI_API_KEY": "k"})
            assert [str(problem) for problem in checked.problems if problem.severity == "error"] == []
