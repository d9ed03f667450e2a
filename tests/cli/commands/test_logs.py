"""`nexus logs`: what runs leave behind on request, and what is made of it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core.cli.main import main
from nexus_core.cli.run_log import FILE, KeptRun, RunLog
from nexus_core.testing import answers
from nexus_core.testing.upstream import ScriptedUpstream

Nexus = Callable[..., tuple[int, str, str]]
KEY = "canary-4711-0815"
OTHER_KEY = "sk-in-no-variable"
QUESTION = "How many days of leave?"
PIPELINE = """
name: asks
models:
  main: {use: openai, model: gpt-4o-mini, base_url: "${LLM_URL}", api_key: "${LLM_KEY}", retry: false,
         prices: {input: 1, output: 1}}
steps:
  - gather: {use: inline, items: [{id: rules-1, title: Leave, text: Everybody has 28 days of leave.}]}
  - prompt: {template: qa, budget: 2000}
  - generate: main
"""
OFFLINE = ("--set", "models.main={use: extractive}")


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command that keeps its runs in a folder of the test; return exit code, stdout and stderr."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NEXUS_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("NEXUS_SECRETS", str(tmp_path / "secrets.json"))
    monkeypatch.setenv("NEXUS_LOGS", str(tmp_path / "logs"))
    monkeypatch.setenv("LLM_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("LLM_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asks.yaml").write_text(PIPELINE)
    (tmp_path / "leave.md").write_text("# Leave\n\nEverybody has 28 days of leave.\n")

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def newest(nexus: Nexus) -> dict[str, object]:
    """Return what is kept of the last run."""
    found: dict[str, object] = json.loads(nexus("logs", "show", "--json")[1])
    return found


async def test_a_run_is_kept_found_printed_without_a_request_and_asked_again(
    nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is in no file, though the service says it in its answer."""
    async with ScriptedUpstream(answers.json_answer(answers.completion(f"28 days [1], {KEY}."))) as upstream:
        monkeypatch.setenv("LLM_URL", upstream.url)
        code, printed, _ = await asyncio.to_thread(nexus, "run", "asks.yaml", QUESTION)
        assert (code, KEY in printed) == (0, True)
        run = newest(nexus)
        assert (run["query"], run["response"]) == (QUESTION, "28 days [1], ***.")
        assert (run["pipeline"], run["modelId"], run["error"]) == ("asks", "scripted-1", None)
        figures = run["metadata"]
        assert isinstance(figures, dict)
        assert [item["id"] for item in figures["contextItems"]] == ["rules-1"]
        assert (figures["totalTokens"] > 0, figures["cost"] > 0) == (True, True)
        assert nexus("logs", "replay") == (0, printed.replace(KEY, "***"), "")
        assert QUESTION in nexus("logs", "search", "LEAVE", "days")[1]
        assert nexus("logs", "search", "leave", "submarine")[:2] == (0, "")
        assert len(upstream.requests) == 1
        monkeypatch.chdir(tmp_path.parent)
        assert (await asyncio.to_thread(nexus, "logs", "replay", "1", "--again"))[:2] == (0, printed)
        first, second = upstream.requests
        assert first.json() == second.json()
    assert nexus("logs", "--json")[1].count('"query"') == 2
    assert all(KEY.encode() not in path.read_bytes() for path in (tmp_path / "logs").iterdir())
    modes = [(tmp_path / "logs" / name).stat().st_mode & 0o777 for name in ("", FILE)]
    assert modes == [0o700, 0o600]


def test_a_run_that_failed_is_kept_with_its_error(nexus: Nexus) -> None:
    """And says it again, with the same exit code."""
    code, _, told = nexus("run", "asks.yaml", QUESTION)
    assert code == 1
    run = newest(nexus)
    assert (run["errorKind"], run["response"]) == ("connect", "")
    assert str(run["error"]) in told
    assert "failed: connect" in nexus("logs")[1]
    assert nexus("logs", "replay") == (1, "", f"Error: {run['error']}\n")


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (("--set", f"models.main.api_key={OTHER_KEY}"), "--set"),
        ((*OFFLINE, "--input", f"token={OTHER_KEY}"), "--set and --input"),
    ],
    ids=["set", "input"],
)
def test_values_of_options_are_not_kept(nexus: Nexus, tmp_path: Path, options: tuple[str, ...], missing: str) -> None:
    """They may hold a key; then the same cannot be asked again, and the message says why."""
    (tmp_path / "asks.yaml").write_text("inputs: {token: {default: ''}}\n" + PIPELINE)
    nexus("run", "asks.yaml", QUESTION, *options)
    assert newest(nexus)["query"] == QUESTION
    assert OTHER_KEY not in nexus("logs", "show", "--json")[1]
    code, out, told = nexus("logs", "replay", "--again")
    assert (code, out, f"is not kept: {missing}" in told) == (2, "", True)


def test_a_key_in_a_question_is_masked(nexus: Nexus, tmp_path: Path) -> None:
    """It is not the same question then."""
    assert nexus("run", "asks.yaml", f"{QUESTION} {KEY}", *OFFLINE)[0] == 0
    assert newest(nexus)["query"] == f"{QUESTION} ***"
    assert "is not kept: --set and a key in what was asked" in nexus("logs", "replay", "--again")[2]
    assert KEY.encode() not in (tmp_path / "logs" / FILE).read_bytes()


def test_questions_to_files_pipes_and_chats_are_kept(nexus: Nexus) -> None:
    """A file is read again, what was piped in is gone, and a question of a chat is asked by itself."""
    asked = nexus("ask", "-f", "leave.md", QUESTION)
    code, out, _ = nexus("logs", "replay", "--again")
    assert (code, out.partition("(")[0]) == (0, asked[1].partition("(")[0])
    assert nexus("ask", "-f", "-", QUESTION, stdin="Everybody has 28 days of leave.")[0] == 0
    assert "is not kept: standard input" in nexus("logs", "replay", "--again")[2]
    assert nexus("context", "add", "rules", "leave.md")[0] == 0
    assert nexus("chat", "rules", stdin=f"{QUESTION}\nWho has leave?\n")[0] == 0
    run = newest(nexus)
    assert (run["query"], run["command"]) == ("Who has leave?", ["ask", "--", "rules", "Who has leave?"])
    code, out, told = nexus("logs", "replay", "--again")
    assert (code, "28 days" in out, "is asked without it" in told) == (0, True, True)


def test_nothing_is_kept_and_nothing_imported_without_the_request(nexus: Nexus, tmp_path: Path) -> None:
    """`NEXUS_LOGS=0` is no request either."""
    program = "import sys; from nexus_core.cli.main import main\ntry: main(sys.argv[1:])\nfinally: print(*sys.modules)"
    command = [sys.executable, "-c", program, "run", "asks.yaml", QUESTION, *OFFLINE]
    # What measures the coverage of tests imports sqlite3 itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    loaded = {
        value: subprocess.run(
            command, env={**environment, "NEXUS_LOGS": value}, capture_output=True, text=True, check=True
        ).stdout.split()
        for value in ("0", str(tmp_path / "other"))
    }
    extra = {*loaded[str(tmp_path / "other")]} - {*loaded["0"]}
    assert {"nexus_core.cli.run_log", "sqlite3"} <= extra
    assert not (tmp_path / "logs").exists()
    assert nexus("logs")[1] == ""
    assert not (tmp_path / "logs").exists()


def test_a_log_that_cannot_be_used_costs_no_answer(nexus: Nexus, tmp_path: Path) -> None:
    """What is wrong is told beside the answer; it is an error of `nexus logs`."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / FILE).write_text("no database " * 100)
    code, out, told = nexus("run", "asks.yaml", QUESTION, *OFFLINE)
    assert (code, "28 days" in out, "this run is not kept" in told) == (0, True, True)
    assert nexus("logs")[0] == 2


def test_old_runs_are_deleted_on_request_and_no_id_is_used_twice(nexus: Nexus, tmp_path: Path) -> None:
    """What is deleted is not in the file either."""
    log = RunLog(tmp_path / "logs" / FILE)
    log.add(KeptRun(id=0, time=0.0, query="of 1970", details={}))
    assert nexus("run", "asks.yaml", QUESTION, *OFFLINE)[0] == 0
    assert nexus("logs", "prune", "--older", "30d")[1] == "1 run deleted\n"
    assert b"of 1970" not in log.path.read_bytes()
    assert nexus("logs", "delete", "2", "1")[0] == 2
    assert nexus("logs", "delete", "2")[1] == "1 run deleted\n"
    assert log.add(KeptRun(id=0, time=0.0, query="next")) == 3
    assert nexus("logs", "path")[1].strip() == str(log.path)


def test_the_oldest_runs_beyond_the_limit_are_deleted(tmp_path: Path) -> None:
    """The newest stays, however long it is."""
    log = RunLog(tmp_path / FILE, largest=1000)
    for number in range(10):
        log.add(KeptRun(id=0, time=float(number), query=f"{number}" * 300))
    assert [run.id for run in log.runs(limit=100)] == [10, 9, 8]
    log.add(KeptRun(id=0, time=99.0, query="x" * 5000))
    assert [run.id for run in log.runs(limit=100)] == [11]


def test_several_processes_keep_their_runs_at_once(tmp_path: Path) -> None:
    """Also where none has made the file yet."""
    program = "import sys; from pathlib import Path; from nexus_core.cli.run_log import KeptRun, RunLog\n"
    program += "for number in range(20): RunLog(Path(sys.argv[1])).add(KeptRun(id=0, time=1.0, query='q' * 2000))"
    path = tmp_path / "logs" / FILE
    started = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in started] == [0, 0, 0]
    assert [run.id for run in RunLog(path).runs(limit=100)] == [*range(60, 0, -1)]
