"""Conversations from the command line: begun, gone on with, listed, shown, deleted, expired."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core import Store, UsageError
from nexus_core.cli.main import main

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]

PIPELINE = """name: talk
models: {main: {use: extractive}}
steps:
  - gather:
      use: inline
      items:
        - {id: leave, text: "Everybody has 28 days of leave a year."}
        - {id: trains, text: "Trains are booked in second class."}
  - prompt: chat
  - generate: main
"""


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command in a folder with a pipeline and a store of its own; return exit code, stdout and stderr."""
    (tmp_path / "talk.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def ask(nexus: Nexus, query: str, *options: str) -> str:
    code, out, err = nexus("run", "talk.yaml", query, *options)
    assert (code, err) == (0, "")
    return out


def test_run_goes_on_with_a_conversation(nexus: Nexus) -> None:
    """Its id is in the answer, and what was said before is in the next prompt."""
    told = json.loads(ask(nexus, "How many days of leave?", "--conversation", "monday", "--json"))
    assert told["conversationId"] == "monday"
    code, out, _ = nexus("explain", "talk.yaml", "Which class?", "--conversation", "monday", "--json")
    messages = json.loads(out)["messages"]
    assert (code, [message["content"] for message in messages[1:3]]) == (
        0, ["How many days of leave?", "Everybody has 28 days of leave a year. [1]"],
    )  # fmt: skip


def test_a_run_without_a_conversation_makes_no_store(nexus: Nexus, tmp_path: Path) -> None:
    """It is opened only where it is asked for."""
    ask(nexus, "How many days of leave?")
    assert not (tmp_path / "store").exists()


def test_list_and_show_tell_what_is_kept(nexus: Nexus) -> None:
    """For people, and as JSON."""
    ask(nexus, "How many days of leave?", "--conversation", "monday")
    ask(nexus, "Which class are trains?", "--conversation", "monday")
    ask(nexus, "Which class are trains?", "--conversation", "tuesday")
    assert [line.split()[0] for line in nexus("conversations", "list")[1].splitlines()] == ["id", "tuesday", "monday"]
    (first, second) = json.loads(nexus("conversations", "list", "--json")[1])
    assert (first["id"], second["turnCount"], second["expires"]) == ("tuesday", 2, None)
    _, out, _ = nexus("conversations", "show", "monday")
    assert out.index("How many days") < out.index("28 days") < out.index("second class")
    shown = json.loads(nexus("conversations", "show", "monday", "--last", "1", "--json")[1])
    assert [(turn["number"], turn["query"]) for turn in shown["turns"]] == [(2, "Which class are trains?")]


def test_conversations_are_found_by_their_words_and_exported_by_their_ids(nexus: Nexus) -> None:
    """A list tells what each began with; words are those of questions and answers, an id brings its own turns."""
    ask(nexus, "How many days of leave?", "--conversation", "monday")
    ask(nexus, f"Which class are trains{' or other vehicles' * 4}?", "--conversation", "tuesday")
    rows = [line.split() for line in nexus("conversations", "list")[1].splitlines()]
    assert (rows[0][-1], rows[1][-1][-1], rows[2][-1]) == ("title", "…", "leave?")
    for words, expected in ((("28", "DAYS"), "monday"), (("or other",), "tuesday")):
        assert [each["id"] for each in json.loads(nexus("conversations", "list", *words, "--json")[1])] == [expected]
    assert nexus("conversations", "list", "no such words")[:2] == (0, "No conversation has 'no such words'.\n")
    exported = [json.loads(line) for line in nexus("conversations", "export", "tuesday")[1].splitlines()]
    assert [each["conversation"] for each in exported] == ["tuesday"]
    for refused in (("list", "leave", "--all"), ("export", "monday", "--all"), ("export", "friday")):
        code, out, err = nexus("conversations", *refused)
        assert (code, out, bool(err)) == (2, "", True)


def test_rated_answers_are_exported_as_queries(nexus: Nexus, tmp_path: Path) -> None:
    """One line each, as `nexus eval` reads them; `show` tells the rating, too."""
    ask(nexus, "How many days of leave?", "--conversation", "monday")
    ask(nexus, "Which class are trains?", "--conversation", "monday")
    shown = json.loads(nexus("conversations", "show", "monday", "--json")[1])["turns"]

    async def rate() -> None:
        async with Store(tmp_path / "store") as store:
            await store.conversations.rate("monday", shown[1]["runId"], "down", comment="Which train?")

    asyncio.run(rate())
    assert "rated down: Which train?" in nexus("conversations", "show", "monday")[1]
    (line,) = nexus("conversations", "export", "--rated")[1].splitlines()
    told = json.loads(line)
    assert (told["text"], told["rating"], told["comment"]) == ("Which class are trains?", "down", "Which train?")
    (tmp_path / "queries.jsonl").write_text(line)
    (tmp_path / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{told['_id']}\ttrains\t1\n")
    code, out, err = nexus("eval", "talk.yaml", "--collection", str(tmp_path))
    assert code == 0, (out, err)
    assert len(nexus("conversations", "export", "--all")[1].splitlines()) == 2


def test_items_that_good_answers_cite_are_relevant_to_nexus_eval(nexus: Nexus, tmp_path: Path) -> None:
    """An answer that was rated down says nothing of what it cites. What is written is evaluated as it is."""
    ask(nexus, "How many days of leave?", "--conversation", "monday")
    ask(nexus, "Which class are trains?", "--conversation", "monday")
    nexus("conversations", "rate", "monday", "up", "--turn", "1")
    nexus("conversations", "rate", "monday", "down", "--turn", "2")
    good, bad = (each["runId"] for each in json.loads(nexus("conversations", "show", "monday", "--json")[1])["turns"])
    out = nexus("conversations", "export", "--rated", "--qrels", str(tmp_path / "qrels.tsv"))[1]
    (tmp_path / "queries.jsonl").write_text(out)
    assert [json.loads(line)["_id"] for line in out.splitlines()] == [good, bad]
    assert (tmp_path / "qrels.tsv").read_text() == f"query-id\tcorpus-id\tscore\n{good}\tleave\t1\n"
    code, told, err = nexus("eval", "talk.yaml", "--collection", str(tmp_path), "--json")
    assert code == 0, (told, err)


def test_export_is_imported_as_it_was(nexus: Nexus, tmp_path: Path) -> None:
    """Into another store, of every owner; again it changes nothing, and another with its id gets a new one."""
    ask(nexus, "How many days of leave?", "--conversation", "monday")
    ask(nexus, "Which class are trains?", "--conversation", "monday")
    ask(nexus, "Which class are trains?", "--conversation", "tuesday")

    async def change() -> None:
        async with Store(tmp_path / "store") as store:
            (turn, _) = await store.conversations.turns("monday")
            await store.conversations.rate("monday", turn.run_id, "down", comment="Wrong \u2192 year")
            await store.conversations.rename("monday", "Leave")
            await store.conversations.add("of ann", query="q", answer="a", model="m", run_id="r", owner="ann")

    asyncio.run(change())
    out = nexus("conversations", "export", "--all")[1]
    (tmp_path / "talks.jsonl").write_text(out)
    other = ("--store", str(tmp_path / "other"))
    code, told, err = nexus("conversations", "import", "talks.jsonl", "--all", *other)
    assert (code, err, "monday: imported, 2 turns" in told) == (0, "", True)
    assert nexus("conversations", "export", "--all", *other)[1] == out
    assert nexus("conversations", "import", "talks.jsonl", "--all", *other)[1].count("there already") == 3
    (tmp_path / "talks.jsonl").write_text(out.replace("Leave", "Holiday").replace("28 days", "30 days"))
    told = nexus("conversations", "import", "talks.jsonl", *other)[1]
    assert "monday: imported as " in told
    assert [each["id"] for each in json.loads(nexus("conversations", "list", "--json", *other)[1])].count("monday") == 1


def test_answer_is_rated_and_told_why(nexus: Nexus) -> None:
    """The last one, or one by its number; the export has both, and what is taken back is gone."""
    ask(nexus, "How many days of leave?", "--conversation", "monday")
    ask(nexus, "Which class are trains?", "--conversation", "monday")
    told = nexus("conversations", "rate", "monday", "down", "--comment", "Which train?")[1]
    assert told == "turn 2 of monday is rated down\n"
    nexus("conversations", "rate", "monday", "up", "--turn", "1")
    rated = [json.loads(line) for line in nexus("conversations", "export", "--rated")[1].splitlines()]
    assert [(each["rating"], each["comment"]) for each in rated] == [("up", None), ("down", "Which train?")]
    assert "not rated any more" in nexus("conversations", "rate", "monday", "none")[1]
    assert len(nexus("conversations", "export", "--rated")[1].splitlines()) == 1
    code, _, err = nexus("conversations", "rate", "monday", "up", "--turn", "9")
    assert (code, "has no turn 9" in err) == (2, True)


def test_file_that_is_none_of_conversations_is_refused(nexus: Nexus, tmp_path: Path) -> None:
    """With its line, and what to give instead."""
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "q"}')
    code, _, err = nexus("conversations", "import", "queries.jsonl")
    assert (code, "line 1 has no `conversation`: give JSON Lines as `nexus conversations export`" in err) == (2, True)
    assert json.loads(nexus("conversations", "list", "--json")[1]) == []


def test_conversation_is_shared_and_no_longer(nexus: Nexus, tmp_path: Path) -> None:
    """The link is told this once, and what ends it."""
    ask(nexus, "How many days of leave?", "--conversation", "monday")
    code, out, err = nexus("conversations", "share", "monday", "--expires", "7d")
    assert (code, out.startswith("shared#"), "Shown this once" in err) == (0, True, True)

    async def read() -> int:
        async with Store(tmp_path / "store") as store:
            return len((await store.conversations.links.open(out.strip().removeprefix("shared#"))).turns)

    assert asyncio.run(read()) == 1
    assert "is no longer shared" in nexus("conversations", "unshare", "monday")[1]
    assert "was not shared" in nexus("conversations", "unshare", "monday")[1]
    with pytest.raises(UsageError, match="leads to nothing"):
        asyncio.run(read())
    assert nexus("conversations", "share", "tuesday")[0] == 2


def test_an_empty_store_says_how_to_begin(nexus: Nexus) -> None:
    """No empty table."""
    code, out, _ = nexus("conversations", "list", "--all")
    assert (code, "nexus run PIPELINE QUERY --conversation ID" in out) == (0, True)
    assert json.loads(nexus("conversations", "list", "--json")[1]) == []


def test_delete_takes_several_and_names_what_is_not_there(nexus: Nexus) -> None:
    """With the closest name."""
    for name in ("monday", "tuesday"):
        ask(nexus, "How many days of leave?", "--conversation", name)
    code, _, err = nexus("conversations", "delete", "mondy")
    assert (code, "did you mean 'monday'?" in err) == (2, True)
    assert nexus("conversations", "delete", "monday", "tuesday")[0] == 0
    assert json.loads(nexus("conversations", "list", "--json")[1]) == []


def test_expire_sets_how_long_conversations_live(nexus: Nexus, tmp_path: Path) -> None:
    """From now on, and deletes what is due."""
    ask(nexus, "How many days of leave?", "--conversation", "before")
    code, out, _ = nexus("conversations", "expire", "--ttl", "90d")
    assert (code, out) == (
        0,
        "0 deleted; conversations that are begun from now on live for 90 days after their last turn\n",
    )
    ask(nexus, "How many days of leave?", "--conversation", "after")
    found = {each["id"]: each["expires"] for each in json.loads(nexus("conversations", "list", "--json")[1])}
    assert (found["before"], found["after"] is None) == (None, False)
    with sqlite3.connect(tmp_path / "store" / "store.db") as connection:
        connection.execute("UPDATE conversations SET changed = changed - 86400 * 31")
    connection.close()
    assert json.loads(nexus("conversations", "expire", "--idle", "30d", "--ttl", "never", "--json")[1]) == {
        "deleted": 2, "ttlSeconds": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "told"),
    [("1d", "1 day"), ("36h", "1.5 days"), ("2h", "2 hours"), ("1m", "1 minute"), ("30s", "30 seconds")],
)
def test_expire_tells_a_duration_in_a_fitting_unit(nexus: Nexus, given: str, told: str) -> None:
    """Not in millionths of a day."""
    assert f"live for {told} after" in nexus("conversations", "expire", "--ttl", given)[1]


@pytest.mark.parametrize("duration", ["0d", "-1d", "soon", "30"])
def test_a_duration_that_is_none_is_refused(nexus: Nexus, duration: str) -> None:
    """With one that is."""
    code, _, err = nexus("conversations", "expire", f"--idle={duration}")
    assert (code, "write it as in 30d, 12h or 90m" in err) == (2, True)


def test_what_is_stored_cannot_take_over_the_terminal(nexus: Nexus) -> None:
    """Control characters of a stored text are shown as what they are not (fault 163)."""
    ask(nexus, "How many days of leave?\x1b[2J", "--conversation", "monday")
    _, out, _ = nexus("conversations", "show", "monday")
    assert ("\x1b[2J" in out, "leave?\\u001b[2J" in out) == (False, True)


def test_an_answer_is_printed_also_where_its_turn_cannot_be_kept(nexus: Nexus, tmp_path: Path) -> None:
    """The answer on stdout, why it is not kept on stderr, exit code 1 (fault 158)."""
    ask(nexus, "How many days of leave?", "--conversation", "monday")
    with sqlite3.connect(tmp_path / "store" / "store.db") as connection:
        connection.execute("CREATE TRIGGER refuse BEFORE INSERT ON turns BEGIN SELECT RAISE(ABORT, 'refused'); END")
    connection.close()
    code, out, err = nexus("run", "talk.yaml", "Which class are trains?", "--conversation", "monday")
    assert (code, "Trains are booked in second class." in out, "refused" in err) == (1, True, True)
    shown = json.loads(nexus("conversations", "show", "monday", "--json")[1])
    assert len(shown["turns"]) == 1
