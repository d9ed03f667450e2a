"""Kept answers from the command line: found by the next command, marked, refused with --no-cache, summed up."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nexus_core.cli.main import main

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]

PIPELINE = """name: talk
models: {main: {use: extractive, cache: {expires: 7d}}}
steps:
  - gather: {use: inline, items: [{id: leave, text: "Everybody has 28 days of leave a year."}]}
  - prompt: chat
  - generate: main
sinks: [store]
"""
QUESTION = "How many days of leave?"


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command in a folder with a pipeline and a store of its own; return exit code, stdout and stderr."""
    (tmp_path / "talk.yaml").write_text(PIPELINE)
    (tmp_path / "notes.md").write_text("# Leave\nEverybody has 28 days of leave a year.\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def attempt(nexus: Nexus, *arguments: str) -> dict[str, Any]:
    """Return the only attempt of a command that answers."""
    code, out, _ = nexus(*arguments, "--json")
    assert code == 0
    (row,) = json.loads(out)["attempts"]
    return dict(row)


@pytest.mark.parametrize("conversation", [(), ("--conversation", "monday")], ids=["alone", "conversation"])
def test_the_next_command_finds_the_answer(nexus: Nexus, conversation: tuple[str, ...]) -> None:
    """In the store, with the same text; with --no-cache the model is asked."""
    asked = ("run", "talk.yaml", QUESTION)
    row = attempt(nexus, *asked, *conversation)
    again = attempt(nexus, *asked, *conversation[:1], *(f"{name}-2" for name in conversation[1:]))
    assert [each["fromCache"] for each in (row, again)] == [False, True]
    assert (again["requestSent"], again["promptTokens"], again["completionTokens"]) == (False, 0, 0)
    assert attempt(nexus, *asked, "--no-cache")["fromCache"] is False


def test_a_hit_is_told_and_summed_up(nexus: Nexus) -> None:
    """By --verbose, and by `nexus usage`, where it adds no request and no token."""
    first = nexus("run", "talk.yaml", QUESTION)
    code, out, err = nexus("run", "talk.yaml", QUESTION, "--verbose")
    assert (code, out) == (0, first[1])
    assert "ok (from cache)" in err
    (row,) = json.loads(nexus("usage", "--json")[1])["rows"]
    assert (row["attempts"], row["requests"], row["fromCache"]) == (2, 1, 1)
    assert nexus("usage", "--by", "model")[1].splitlines()[1].split()[-1] == "1"


def test_ask_keeps_answers_too(nexus: Nexus) -> None:
    """With a pipeline of one's own that says so."""
    own = PIPELINE.replace(
        '{use: inline, items: [{id: leave, text: "Everybody has 28 days of leave a year."}]}', "store"
    )
    Path("own.yaml").write_text(own)
    nexus("context", "create", "handbook")
    nexus("context", "add", "handbook", "notes.md")
    asked = ("ask", "handbook", QUESTION, "--pipeline", "own.yaml")
    assert [attempt(nexus, *asked, *more)["fromCache"] for more in ((), (), ("--no-cache",))] == [False, True, False]


def test_a_store_that_cannot_be_opened_costs_no_answer(nexus: Nexus) -> None:
    """It is a warning: the model is asked."""
    Path("talk.yaml").write_text(PIPELINE.replace("sinks: [store]\n", ""))
    Path("store").mkdir()
    Path("store", "store.db").write_bytes(b"no database at all" * 100)
    code, out, err = nexus("run", "talk.yaml", QUESTION)
    assert (code, "28 days" in out) == (0, True)
    assert "the answers that were kept cannot be read, so models are asked" in err


class Unlocking(io.StringIO):
    """An output that lets a busy store go as soon as an answer is printed."""

    def __init__(self, busy: sqlite3.Connection) -> None:
        super().__init__()
        self._busy = busy

    def write(self, text: str) -> int:
        if "28 days" in text and self._busy.in_transaction:
            self._busy.rollback()
        return super().write(text)


def test_an_answer_is_printed_before_it_is_kept(nexus: Nexus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else writes to the store until it is: who asks does not wait for that."""
    Path("talk.yaml").write_text(PIPELINE.replace("sinks: [store]\n", ""))
    nexus("run", "talk.yaml", "What else?")
    monkeypatch.setattr("nexus_core.store.database.connection.BUSY_TIMEOUT_S", 30.0)
    with closing(sqlite3.connect(Path("store", "store.db"), isolation_level=None)) as busy, monkeypatch.context() as at:
        busy.execute("BEGIN IMMEDIATE")
        at.setattr(sys, "stdout", Unlocking(busy))
        assert nexus("run", "talk.yaml", QUESTION)[0] == 0
    assert attempt(nexus, "run", "talk.yaml", QUESTION)["fromCache"] is True


def test_a_pipeline_without_a_cache_makes_no_store(nexus: Nexus) -> None:
    """It pays for nothing that it does not use."""
    Path("talk.yaml").write_text(PIPELINE.replace(", cache: {expires: 7d}", "").replace("sinks: [store]\n", ""))
    assert nexus("run", "talk.yaml", QUESTION)[0] == 0
    assert not Path("store").exists()


def test_a_recording_holds_every_request(nexus: Nexus) -> None:
    """Neither is an answer of the cache recorded, nor is a replay answered by it."""
    asked = ("run", "talk.yaml", QUESTION)
    attempt(nexus, *asked)
    rows = [attempt(nexus, *asked, how, "recorded") for how in ("--record", "--replay")]
    assert [row["fromCache"] for row in rows] == [False, False]
