"""No file of the current folder is run because it is there: a folder may be full of files of strangers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from nexus_core.toolkit.processes.environment import environment, safe_path

pytestmark = pytest.mark.slow

NEXUS = [sys.executable, "-P", "-m", "nexus_core.cli.main"]
HOSTILE = 'import os\nwith open(os.environ["RAN"], "a") as file:\n    file.write(__name__ + "\\n")\n'
NAMES = {*sys.stdlib_module_names, *packages_distributions(), "sitecustomize", "usercustomize"} - {"__main__"}
"""Of the standard library, of what is installed, and of what Python looks for by itself."""

STARTS = """
import multiprocessing, subprocess, sys
from multiprocessing import resource_tracker
from nexus_core import hookimpl, ranker

@ranker
def starts(query, items):
    resource_tracker.ensure_running()
    child = multiprocessing.get_context("spawn").Process(target=print)
    child.start()
    child.join()
    code = child.exitcode or subprocess.run([sys.executable, "-m", "json.tool", "--help"], stdout=2).returncode
    return [float(code == 0) for _ in items]

@hookimpl
def nexus_rankers():
    return [starts]
"""
PIPELINE = """name: starts
plugins: [starts.py]
models: {m: extractive}
steps:
  - gather: {use: inline, items: [{id: a, text: Everybody has 28 days of leave.}]}
  - rank: starts
  - prompt: chat
  - generate: m
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A current folder with a module for each name; the test is told which of them have run."""
    folder, ran = tmp_path / "hostile", tmp_path / "ran"
    folder.mkdir()
    for name in filter(str.isidentifier, NAMES):
        (folder / f"{name}.py").write_text(HOSTILE)
    (folder / "nexus_core").mkdir()
    (folder / "nexus_core" / "__init__.py").write_text(HOSTILE)
    (folder / "note.md").write_text("# Leave\n\nEverybody has 28 days of leave.\n")
    ran.touch()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RAN", str(ran))
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return lambda: ran.read_text().split()


def nexus(*arguments: str) -> str:
    done = subprocess.run([*NEXUS, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("place", [".", "note.md"], ids=["a folder", "one file"])
def test_context_add_runs_nothing_of_the_folder_it_is_in(hostile: Callable[[], list[str]], place: str) -> None:
    """Nor of the folder that it reads: its modules are documents."""
    assert " read from " in nexus("context", "add", "code", place)
    assert hostile() == []


def test_children_of_plugins_run_nothing_of_the_current_folder(hostile: Callable[[], list[str]]) -> None:
    """Whatever starts them: `multiprocessing` with its resource tracker, and `python -m`."""
    Path("starts.py").write_text(STARTS)
    Path("p.yaml").write_text(PIPELINE)
    assert "28 days" in nexus("run", "p.yaml", "How many days of leave?")
    assert hostile() == []


READS = """name: reads
models: {m: extractive}
steps:
  - gather: {use: files, paths: [leave.html]}
  - gather: {use: jsonl, path: big.jsonl}
  - rank: bm25
  - prompt: {template: chat, budget: 1000}
  - generate: m
"""


def test_readers_of_a_pipeline_run_nothing_of_the_current_folder(hostile: Callable[[], list[str]]) -> None:
    """Of a format that another process reads, and of a file that is large enough for that."""
    Path("leave.html").write_text("<h1>Leave</h1><p>Everybody has 28 days of leave.</p>")
    Path("big.jsonl").write_text('{"text": "Trains only."}\n' * 25_000)
    Path("p.yaml").write_text(READS)
    assert "28 days" in nexus("run", "p.yaml", "How many days of leave?")
    assert hostile() == []


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="several workers")
def test_workers_and_their_readers_run_nothing_of_the_current_folder(hostile: Callable[[], list[str]]) -> None:
    """From their start to a file that is uploaded and read."""
    nexus("context", "add", "handbook", "note.md")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [*NEXUS, "serve", "--workers", "2", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = ""
        try:
            while said.count("listening on") < 2:
                said += (line := server.stderr.readline())
                assert line, said
            address = f"http://127.0.0.1:{port}/api/contexts/handbook/documents?name=b.md"
            request = urllib.request.Request(address, b"# Travel\n\nTrains only.\n", method="POST")
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert json.load(answer)["read"] == 1
        finally:
            server.terminate()
            server.stderr.read()
    assert hostile() == []


def test_what_is_handed_on_names_no_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is spelt; other folders stay, in their order."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").symlink_to(tmp_path)
    (tmp_path / "lib").mkdir()
    current = ["", ".", str(tmp_path), f"{tmp_path}/", f"{tmp_path}/lib/..", str(tmp_path / "here"), "./."]
    lib, other = str(tmp_path / "lib"), os.path.dirname(os.__file__)
    assert safe_path([*current, other, *current, lib]) == [other, lib]
    made = environment(given={"PYTHONPATH": os.pathsep.join([*current, "lib", other]), "A": "b"})
    assert made == {"PYTHONPATH": os.pathsep.join([lib, other]), "PYTHONSAFEPATH": "1", "A": "b"}
    assert "PYTHONPATH" not in environment(given={"PYTHONPATH": os.pathsep})
