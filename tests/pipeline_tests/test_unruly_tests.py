"""A test that goes wrong in whatever way fails, in words, and ends no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nexus_core.engine.plugins import PluginRegistry
from nexus_core.pipeline_tests import time_limits
from nexus_core.pipeline_tests.runner import CaseResult, check_files, run_cases

PLUGIN = """
import asyncio, socket, sys, urllib.request
from nexus_core import *

async def leave():
    sys.exit(3)

@component
class Unruly:
    async def gather(self, query, run):
        match query:
            case "exit": sys.exit(3)
            case "cancelled": raise asyncio.CancelledError
            case "task": task = asyncio.create_task(leave()); await asyncio.sleep(60)
            case "stop": asyncio.get_running_loop().stop(); await asyncio.sleep(0)
            case "sleep": await asyncio.sleep(8 * 3600)
            case "never": await asyncio.get_running_loop().create_future()
            case "connect": urllib.request.urlopen("http://127.0.0.1:9/x")
            case "thread":
                try:
                    await asyncio.to_thread(socket.create_connection, ("127.0.0.1", 9))
                except OSError:
                    pass
        return [Item(id="a", text="Thirty days.")]

@hookimpl
def nexus_sources():
    return [Unruly]
"""
PIPELINE = """
name: x
plugins: [./mine.py]
models: {main: extractive}
steps:
  - gather: mine
  - prompt: qa
  - generate: main
tests:
  - {name: before, query: days}
  - TEST
  - {name: after, query: days}
"""


def write(folder: Path, test: str) -> Path:
    (folder / "mine.py").write_text(PLUGIN)
    path = folder / "x.yaml"
    path.write_text(PIPELINE.replace("TEST", test))
    return path


def run(folder: Path, test: str) -> list[CaseResult]:
    return list(run_cases(check_files([write(folder, test)], PluginRegistry.installed(), {})))


ENDED = {
    "exit": "the run failed with source after []",
    "cancelled": "the run failed with source after []",
    "task": "it was ended by SystemExit: 3",
    "stop": "it was ended by RuntimeError: Event loop stopped before Future completed.",
    "connect": "it makes no connections, and one to 127.0.0.1:9 was wanted: give it `items`",
    "thread": "it makes no connections, and one to 127.0.0.1:9 was wanted: give it `items`",
}


@pytest.mark.parametrize(("query", "message"), ENDED.items(), ids=ENDED)
def test_what_a_plugin_does_fails_one_test(query: str, message: str, tmp_path: Path) -> None:
    """Those before and after it pass."""
    before, result, after = run(tmp_path, f"{{name: odd, query: {query}}}")
    assert [mismatch.message for mismatch in result.mismatches] == [message]
    assert before.passed
    assert after.passed


SCHEMAS = {
    "refers to itself": ("{$ref: '#'}", "{}", "refers to itself without end"),
    "division": ("{multipleOf: 0}", "4", "cannot be checked by its `json_schema`: ZeroDivisionError"),
    "backtracks": ("{pattern: '(a+)+$'}", '"' + "a" * 60 + 'b"', "TimeLimitError: it took more than 0.2 s"),
    "deep answer": ("{type: array}", "[" * 100_000, "is nested too deeply"),
}


@pytest.mark.parametrize(("schema", "answer", "message"), SCHEMAS.values(), ids=SCHEMAS)
def test_a_schema_or_answer_that_breaks_the_check_fails_one_test(
    schema: str, answer: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the code that comes of a schema raises."""
    monkeypatch.setattr(time_limits, "MOST_CPU_S", 0.2)
    _, result, after = run(
        tmp_path,
        f"{{name: a, query: q, models: {{main: '{answer}'}}, expect: {{answer: {{json_schema: {schema}}}}}}}",
    )
    assert message in result.mismatches[0].message
    assert after.passed


def test_a_pattern_that_backtracks_fails_one_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sentence, instead of hanging."""
    monkeypatch.setattr(time_limits, "MOST_CPU_S", 0.2)
    answer, test = "a" * 60 + "b", "{name: a, query: q, models: {main: ANSWER}, expect: {answer: {matches: (a+)+$}}}"
    _, result, after = run(tmp_path, test.replace("ANSWER", answer))
    assert "cannot be searched for '(a+)+$', which backtracks too much" in result.mismatches[0].message
    assert after.passed


@pytest.mark.slow
def test_what_a_plugin_waits_for_passes_at_once(tmp_path: Path) -> None:
    """Eight hours of sleep; and what never comes is no reason to wait.

    In a process of its own: where some other thread works, time passes as it does.
    """
    path = write(tmp_path, "{name: sleeps, query: sleep}\n  - {name: waits, query: never}")
    command = [sys.executable, "-m", "nexus_core.cli.main", "test", str(path), "-v", "--junit", "out.xml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
    assert done.returncode == 1
    assert f"passed {path}:11 sleeps\nFAILED {path}:12 waits\n" in done.stdout
    assert done.stdout.endswith("1 failed, 3 passed (1 pipeline)\n")
    assert (tmp_path / "out.xml").exists()
