"""`--record` and `--replay` of `nexus run` and `nexus ask`."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core.cli.main import main
from nexus_core.recordings.recording_file import recordings_in
from nexus_core.testing import answers
from nexus_core.testing.upstream import ScriptedUpstream

Nexus = Callable[..., tuple[int, str, str]]
PIPELINE = """
name: asks
models:
  main: {use: openai, model: gpt-4o-mini, base_url: "${LLM_URL}", api_key: "${LLM_KEY}", retry: {attempts: 1}}
steps:
  - gather: {use: files, paths: [notes]}
  - prompt: qa
  - generate: main
"""
QUESTION = "When does the ferry leave?"


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command in a folder with a pipeline and what it reads; return exit code, stdout and stderr."""
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NEXUS_MODEL", "LLM_URL", "LLM_KEY"):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path / "one")
    monkeypatch.chdir(tmp_path / "one")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def write(folder: Path) -> None:
    """Write a pipeline and what it reads."""
    (folder / "notes").mkdir(parents=True)
    (folder / "notes" / "ferry.md").write_text("# Ferry\n\nThe ferry leaves at ten.\n")
    (folder / "asks.yaml").write_text(PIPELINE)


async def test_a_run_is_recorded_and_replayed_in_another_folder_without_key_and_service(
    nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answer, by whichever path the pipeline and its documents are reached."""
    async with ScriptedUpstream(answers.json_answer(answers.completion("At ten [1]."))) as upstream:
        monkeypatch.setenv("LLM_URL", upstream.url)
        monkeypatch.setenv("LLM_KEY", "canary-4711")
        recorded = await asyncio.to_thread(nexus, "run", "asks.yaml", QUESTION, "--record", "recorded")
        assert len(upstream.requests) == 1
    monkeypatch.delenv("LLM_URL")
    monkeypatch.delenv("LLM_KEY")
    write(tmp_path / "two")
    monkeypatch.chdir(tmp_path / "two")
    assert await asyncio.to_thread(nexus, "run", "asks.yaml", QUESTION, "--replay", "../one/recorded") == recorded
    monkeypatch.chdir(tmp_path)
    assert await asyncio.to_thread(nexus, "run", "two/asks.yaml", QUESTION, "--replay", "one/recorded") == recorded
    assert recorded[0] == 0
    assert "At ten" in recorded[1]


def test_a_request_without_a_recording_ends_the_run_with_the_difference(nexus: Nexus, tmp_path: Path) -> None:
    """Exit code 1, as other failed runs; without the variables it would be wrong configuration."""
    offline = ("run", "asks.yaml", "--set", "models.main={use: extractive}")
    assert nexus(*offline, QUESTION, "--record", "recorded")[0] == 0
    code, out, err = nexus(*offline, "When does the last ferry leave?", "--replay", "recorded")
    assert (code, out) == (1, "")
    assert f'-        "Question: {QUESTION}"' in err
    assert '+        "Question: When does the last ferry leave?"' in err
    assert nexus("run", "asks.yaml", QUESTION)[0] == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--replay", "nowhere"], "--record nowhere"),
        (["--replay", "notes"], "holds no recordings"),
        (["--record", "a", "--replay", "notes"], "exclude one another"),
        (["--record", "asks.yaml"], "is a file"),
        (["--record", "asks.yaml/a"], "cannot record into"),
    ],
    ids=["no folder", "no recordings", "both", "a file", "in a file"],
)
def test_a_folder_that_cannot_be_used_is_wrong_usage(options: list[str], told: str, nexus: Nexus) -> None:
    """Before anything is asked."""
    code, _, err = nexus("run", "asks.yaml", QUESTION, *options, "--set", "models.main={use: extractive}")
    assert (code, told in err) == (2, True), err


def test_a_question_to_a_context_is_replayed_by_the_model_that_answered(nexus: Nexus) -> None:
    """With and without a key at hand, and nothing is said of sending."""
    assert nexus("context", "add", "notes", "notes")[0] == 0
    recorded = nexus("ask", "notes", QUESTION, "--record", "recorded", "--json")
    assert recorded[0] == 0
    code, out, err = nexus("ask", "notes", QUESTION, "--replay", "recorded", "--json")
    assert (code, json.loads(out)["response"]) == (0, json.loads(recorded[1])["response"])
    assert "replaying what was recorded of offline" in err
    (file,) = (path for path in Path("recorded").glob("*.json") if not path.name.endswith(".timing.json"))
    file.rename(file.with_name(file.name.replace("offline", "openai")))
    code, _, err = nexus("ask", "notes", QUESTION, "--replay", "recorded", "--model", "gpt-4o")
    assert (code, "replaying what was recorded of openai" in err) == (1, True)
    assert '+  "model_id": "gpt-4o",' in err


@pytest.mark.parametrize("command", ["run", "ask"])
def test_the_help_says_what_is_in_the_files(command: str, nexus: Nexus) -> None:
    """Whoever records knows that prompts and answers are kept."""
    told = " ".join(nexus(command, "--help")[1].split())
    assert "The files hold prompts and answers in full, and no keys" in told
    assert "nothing is sent" in told


TESTS = """
tests:
  - name: the ferry
    query: When does the ferry leave?
    expect: {answer: {contains: ten}}
"""


async def test_tests_are_recorded_and_replayed(nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test without a script asks the model while it is recorded, and its recording from then on; no key is needed."""
    file = tmp_path / "one" / "asks.yaml"
    file.write_text(file.read_text() + TESTS)
    async with ScriptedUpstream(answers.json_answer(answers.completion("At ten."))) as upstream:
        monkeypatch.setenv("LLM_URL", upstream.url)
        monkeypatch.setenv("LLM_KEY", "sk-test")
        code, out, _ = await asyncio.to_thread(nexus, "test", "asks.yaml", "--record", "kept")
    assert (code, len(upstream.requests)) == (0, 1), out
    monkeypatch.delenv("LLM_URL")
    monkeypatch.delenv("LLM_KEY")
    code, out, _ = await asyncio.to_thread(nexus, "test", "asks.yaml", "--replay", "kept")
    assert code == 0, out


async def test_tests_that_ask_alike_do_not_depend_on_each_other(
    nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All their answers are kept in one file, and each test begins with the first, alone and after others."""
    file = tmp_path / "one" / "asks.yaml"
    second = TESTS.replace("\ntests:\n", "").replace("name: the ferry", "name: again")
    file.write_text(file.read_text() + TESTS + second)
    said = [answers.json_answer(answers.completion(text)) for text in ("At ten.", "Ten o'clock.")]
    async with ScriptedUpstream(*said) as upstream:
        monkeypatch.setenv("LLM_URL", upstream.url)
        monkeypatch.setenv("LLM_KEY", "sk-test")
        assert (await asyncio.to_thread(nexus, "test", "asks.yaml", "--record", "kept"))[0] == 1
    (kept,) = recordings_in(tmp_path / "one" / "kept")
    recorded = json.loads(kept.read_text())
    assert [response["text"] for response in recorded["responses"]] == ["At ten.", "Ten o'clock."]
    code, out, _ = await asyncio.to_thread(nexus, "test", "asks.yaml", "--replay", "kept")
    assert code == 0, out
    assert (await asyncio.to_thread(nexus, "test", "asks.yaml", "--replay", "kept", "-k", "again"))[0] == 0


async def test_a_replay_is_not_billed(nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nexus usage` counts one request, with its tokens and cost, however often that is replayed."""
    file = tmp_path / "one" / "asks.yaml"
    text = file.read_text().replace("retry: {attempts: 1}", "prices: {input: 10, output: 20}")
    file.write_text(text + "sinks: [store]\n")
    async with ScriptedUpstream(answers.json_answer(answers.completion("At ten [1]."))) as upstream:
        monkeypatch.setenv("LLM_URL", upstream.url)
        monkeypatch.setenv("LLM_KEY", "sk-test")
        assert (await asyncio.to_thread(nexus, "run", "asks.yaml", QUESTION, "--record", "recorded"))[0] == 0
    before = json.loads((await asyncio.to_thread(nexus, "usage", "--json"))[1])["total"]
    for _ in range(3):
        assert (await asyncio.to_thread(nexus, "run", "asks.yaml", QUESTION, "--replay", "recorded"))[0] == 0
    after = json.loads((await asyncio.to_thread(nexus, "usage", "--json"))[1])["total"]
    billed = ("requests", "promptTokens", "completionTokens", "cost")
    assert [after[name] for name in billed] == [before[name] for name in billed]
    assert (before["requests"], before["cost"] > 0, after["attempts"]) == (1, True, 4)


def test_the_page_shows_the_error_that_is_printed(nexus: Nexus) -> None:
    """Its pipeline, asked as it says, gives its text."""
    page = (Path(__file__).parents[3] / "docs/how-to/test-without-a-service.md").read_text()
    Path("leave.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    assert nexus("run", "leave.yaml", "How many days of leave are there?", "--record", "recordings")[0] == 0
    code, _, err = nexus("run", "leave.yaml", "How many days of leave are left?", "--replay", "recordings")
    assert (code, err) == (1, page.split("```text\n")[1].split("```")[0])
