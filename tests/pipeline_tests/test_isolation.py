"""What a test of a pipeline must not do: ask a service, wait, write to sinks, or change what the next one meets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from nexus_core.engine.plugins import PluginRegistry
from nexus_core.pipeline_tests.runner import CaseResult, check_files, run_cases

WATCHED = """
import sys

seen = []
names = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname")
sys.addaudithook(lambda event, args: seen.append(event) if event in names else None)
from nexus_core.cli.main import main

try:
    main(sys.argv[1:])
finally:
    print("sockets", seen)
"""
PLUGIN = """
from pathlib import Path
from nexus_core import *

with (Path(__file__).parent / "imports.txt").open("a") as file:
    file.write("imported\\n")

@ranker
def same(query, items):
    return [1.0 for item in items]

@hookimpl
def nexus_rankers():
    return [same]
"""
PIPELINE = """
name: x
plugins: [./mine.py]
models:
  main: {use: openai, model: gpt-4o-mini, fallback: spare, limits: {requests_per_minute: 18}}
  spare: extractive
steps:
  - gather: {use: files, paths: ["*.md"]}
  - rank: mine
  - prompt: qa
  - generate: main
sinks:
  - {use: jsonl, path: runs.jsonl}
tests:
"""
KINDS = (
    ("models: {main: 'Thirty [1].'}", "{answer: 'Thirty [1].', citations: ['1']}"),
    ("models: {main: [{status: 503}, {status: 503}, x]}", "{attempts: 3, model: main}"),
    ("models: {main: {stall: 0}}", "{fallback: ['main:timeout', 'spare:ok']}"),
    ("models: {main: {error: connect}}", "{fallback: ['main:connect', 'spare:ok']}"),
    ("models: {main: {status: 401}}", "{fallback: ['main:auth', 'spare:ok']}"),
)


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    """A pipeline with a hundred tests: answers, retries, silence, outages, wrong keys."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    tests = [
        f"  - {{name: t{number}, query: How many days, items: [You have thirty days.], {script}, expect: {expect}}}\n"
        for number in range(100)
        for script, expect in [KINDS[number % len(KINDS)]]
    ]
    path = tmp_path / "x.yaml"
    path.write_text(PIPELINE + "".join(tests))
    return path


@pytest.mark.slow
def test_a_hundred_tests_open_no_connection(hundred: Path) -> None:
    """The interpreter tells of every one that is opened, or of a name that is looked up; no key is there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    command = [sys.executable, "-c", WATCHED, "test", str(hundred)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=hundred.parent)
    assert done.stderr == ""
    assert done.stdout == "100 passed (1 pipeline)\nsockets []\n"


def run(path: Path) -> list[CaseResult]:
    return list(run_cases(check_files([path], PluginRegistry.installed(), {})))


@pytest.mark.slow
def test_a_file_is_checked_once_and_its_tests_meet_nothing_of_each_other(hundred: Path) -> None:
    """Its plugin is imported once; breakers, parked models, budgets and limits of one test are none of the next's.

    Every fifth test parks the model for minutes, and its limit lets out three requests at once, as many as one makes.
    """
    assert all(result.passed for result in run(hundred))
    assert (hundred.parent / "imports.txt").read_text() == "imported\n"


def test_a_wait_for_a_limit_passes_at_once(tmp_path: Path) -> None:
    """Where there is no other model, the minute that the limit asks for is only a minute of the test's own time."""
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: x\nmodels: {main: {use: openai, model: gpt-4o, limits: {requests_per_minute: 1, queue_wait: 70}}}\n"
        "steps:\n- generate: main\n"
        "tests:\n- {name: a, query: q, models: {main: [{status: 503}, yes]}, expect: {attempts: 2}}\n"
    )
    began = monotonic()
    [result] = run(path)
    assert result.mismatches == ()
    assert monotonic() - began < 30


def test_sinks_get_nothing(hundred: Path) -> None:
    """A test leaves no row among those of real runs."""
    hundred.write_text(PIPELINE + "  - {name: a, query: q, items: [x], models: {main: y}}\n")
    assert [result.passed for result in run(hundred)] == [True]
    assert not (hundred.parent / "runs.jsonl").exists()


def test_sources_are_asked_where_a_test_gives_no_items(hundred: Path) -> None:
    """Files beside the pipeline are part of what is tested."""
    (hundred.parent / "leave.md").write_text("You have thirty days of leave.")
    hundred.write_text(PIPELINE + "  - {name: a, query: q, expect: {packed: [leave.md]}}\n")
    [result] = run(hundred)
    assert result.mismatches == ()


@pytest.mark.parametrize("gather", ["- gather: {use: files, paths: ['*.md']}\n  when: '{{ not items }}'\n", ""])
def test_the_items_of_a_test_come_where_the_sources_would(gather: str, tmp_path: Path) -> None:
    """Not before: a step may look at what is there already. Without a source they are what the caller brings."""
    path = tmp_path / "x.yaml"
    path.write_text(
        f"name: x\nmodels: {{m: extractive}}\nsteps:\n{gather}- prompt: qa\n- generate: m\n"
        "tests:\n- {name: a, query: q, items: [One., Two.], expect: {packed: ['1', '2']}}\n"
    )
    [result] = run(path)
    assert result.mismatches == ()


def test_a_model_that_asks_before_the_answer_takes_a_reply_too(tmp_path: Path) -> None:
    """Replies are taken in the order of the requests, whichever step makes them."""
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: x\nmodels: {main: {use: openai, model: gpt-4o}}\nsteps:\n"
        "- prompt: {template: {text: 'Rewrite: {{ query }}'}}\n- generate: main\n  into: query\n"
        "- prompt: {template: {text: 'Answer: {{ query }}'}}\n- generate: main\n"
        "tests:\n- {name: a, query: q, models: {main: [better q, yes]}, "
        "expect: {messages: {user: 'Answer: better q'}, answer: 'yes', attempts: 2}}\n"
    )
    [result] = run(path)
    assert result.mismatches == ()


def test_a_script_by_the_place_of_a_component_is_for_its_connector(tmp_path: Path) -> None:
    """A ranker that asks a model of its own is scripted as `steps[1].rank.model`."""
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: x\nmodels: {main: extractive}\nsteps:\n- gather: {use: inline, items: [{id: a, text: One.}, "
        "{id: b, text: Two.}]}\n- rank: {use: rerank, method: ask, model: {use: openai, model: gpt-4o}}\n"
        "- prompt: qa\n- generate: main\ntests:\n- name: a\n  query: Two\n"
        "  models: {'steps[1].rank.model': '[2] > [1]'}\n"
        "  expect: {packed: [b, a], attempts: ['steps[1].rank.model:ok', 'main:ok']}\n"
    )
    [result] = run(path)
    assert result.mismatches == ()


@pytest.mark.slow
def test_a_run_does_not_load_the_language_of_tests(tmp_path: Path) -> None:
    """Tests in a file cost those nothing who run it."""
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nmodels: {m: extractive}\nsteps:\n- generate: m\ntests:\n- {name: a, query: q}\n")
    code = "import sys\nfrom nexus_core.cli.main import cli\n"
    code += f"try: cli.main(['run', {str(path)!r}, 'What?'])\nfinally: print(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    loaded = done.stderr.splitlines()
    assert "nexus_core.config.check" in loaded
    assert [name for name in loaded if "cases" in name or "pipeline_tests" in name or name == "fastjsonschema"] == []
