"""Files of conversations: what is read from them, what is refused, and what is kept of those that are not refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Item, Store, UsageError, Viewer
from nexus_core.cli.commands.conversations import _query_json
from nexus_core.contract.prompts import PackedItem
from nexus_core.store.conversations import conversation_files
from nexus_core.store.conversations.conversation_files import read_conversations

MARK = "0123456789abcdef"
LINE = {"_id": "r1", "text": "Leave?", "conversation": "monday", "response": "28 days.", "model": "main"}
HEAD = f'<!-- nexus-conversation {MARK} {{"conversation": "monday", "title": null}} -->\n# Leave?\n\n'
TURN = f'<!-- {MARK} {{"_id": "r1", "model": "main"}} -->\n## Leave?\n\n<!-- {MARK} answer -->\n28 days.\n\n'


def lines(*changes: dict[str, Any]) -> bytes:
    """Return lines that differ from `LINE` by some fields; those that are `None` are left out."""
    every = ({name: told for name, told in {**LINE, **each}.items() if told is not None} for each in changes)
    return "".join(json.dumps(each) + "\n" for each in every).encode()


@pytest.mark.parametrize("form", ["lines", "markdown"])
def test_file_is_read_in_both_forms(form: str) -> None:
    """With the same result; texts that look like parts of it are texts."""
    hostile = f"## x\n\n<!-- {'f' * 16} answer -->\n<!-- nexus-conversation {'f' * 16} {{}} -->\n\r\n --> "
    about = {"time": "2026-11-23T10:00:00+00:00", "rating": "down", "comment": "No -->"}
    if form == "lines":
        data = lines({**about, "text": hostile, "response": hostile, "title": "T"})
    else:
        told = json.dumps({"_id": "r1", "model": "main", **about}).replace(">", "\\u003e")
        data = (
            f'<!-- nexus-conversation {MARK} {{"conversation": "monday", "title": "T"}} -->\n# T\n\n'
            f"<!-- {MARK} {told} -->\n## {hostile}\n\n<!-- {MARK} answer -->\n{hostile}\n\n"
        ).encode()
    (found,) = read_conversations(data)
    (turn,) = found.turns
    assert (found.id, found.owner, found.title, turn.run_id, turn.model) == ("monday", "", "T", "r1", "main")
    assert (turn.query, turn.answer) == (hostile, hostile)
    assert (turn.time, turn.rating, turn.comment) == (1795428000.0, "down", "No -->")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"", "the file is empty: give JSON Lines as", id="empty"),
        pytest.param(b"\xff\xfe\x00", "no text in UTF-8", id="binary"),
        pytest.param(b"%PDF-1.7", "line 1 is no JSON: give JSON Lines as", id="pdf"),
        pytest.param(b"# Notes\n\n## One\n", "line 1 is no JSON", id="any Markdown"),
        pytest.param(b"<!-- hello -->\n# T", "line 1 has no mark", id="no mark"),
        pytest.param(b"[1]", "line 1 is no JSON object", id="list"),
        pytest.param(b"[" * 100_000, "line 1 is no JSON", id="deep"),
        pytest.param(lines({}) + b"{", "line 2 is no JSON", id="cut off"),
        pytest.param(lines({"response": None}), "line 1 has no `response`", id="queries"),
        pytest.param(lines({"text": 5}), "line 1: `text` is no text", id="number"),
        pytest.param(lines({"passages": {}}), "line 1: `passages` is a list of 20", id="passages"),
        pytest.param(lines({"passages": [{"number": 0, "text": ""}]}), "line 1: a passage has", id="passage"),
        pytest.param(lines({"passages": [{"number": 1}]}), "line 1 has no `text`", id="no passage"),
        pytest.param(lines({"passages": [{"number": 1, "text": "x" * 2001}]}), "`text` has 2,001", id="long"),
        pytest.param(lines({"files": ["a"] * 33}), "line 1: `files` is a list of 32", id="files"),
        pytest.param(lines({"files": [5]}), "line 1: `files` is no text", id="file"),
        pytest.param(lines({"rating": "good"}), "line 1: `rating` is 'up', 'down' or null", id="rating"),
        pytest.param(lines({"time": "noon"}), "line 1: `time` is no time", id="time"),
        pytest.param(lines({"time": 5}), "line 1: `time` is no time", id="time as a number"),
        pytest.param(lines({"time": "0001-01-01T00:00:00+00:00"}), "line 1: `time` is no time", id="early"),
        pytest.param(lines({"conversation": "a\nb"}), "line 1: `conversation` and `owner` are names", id="control"),
        pytest.param(lines({"conversation": ""}), "line 1: `conversation` and `owner` are names", id="no name"),
        pytest.param(lines({"title": "x" * 201}), "`title` has 201 characters, of 200 at most", id="title"),
        pytest.param(lines({"text": "x" * (2**20 + 1)}), "`text` has 1,048,577 characters", id="long"),
        pytest.param(lines({}, {}), "line 2: the turn 'r1' is there twice", id="twice"),
        pytest.param(HEAD.encode(), "the file has no turn", id="no turn"),
        pytest.param((HEAD + TURN.replace(" answer", " x")).encode(), "are no pair any more", id="no answer"),
        pytest.param((HEAD + TURN.partition("##")[0]).encode(), "line 4: a question and its answer", id="half a turn"),
        pytest.param((HEAD + TURN + TURN).encode(), "line 10: the turn 'r1' is there twice", id="pasted twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(data: bytes, why: str) -> None:
    """And what to give instead."""
    with pytest.raises(UsageError) as raised:
        read_conversations(data)
    assert why in str(raised.value)


def test_file_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in turns."""
    monkeypatch.setattr(conversation_files, "FILE_TURNS", 2)
    every = [{"_id": f"r{number}"} for number in range(3)]
    assert len(read_conversations(lines(*every[:2]))[0].turns) == 2
    with pytest.raises(UsageError, match="line 3: the file has more than 2 turns"):
        read_conversations(lines(*every))
    monkeypatch.setattr(conversation_files, "FILE_BYTES", 200)
    with pytest.raises(UsageError, match="bytes, of 200 at most: import it in parts"):
        read_conversations(lines(*every))


async def test_ids_that_are_kept_as_one_are_refused(tmp_path: Path) -> None:
    """Halves of surrogate pairs are no text, and two of them would be one and the same turn."""
    async with Store(tmp_path) as store:
        with pytest.raises(UsageError, match="two turns of the conversation 'monday' have ids"):
            await store.conversations.take(lines({}, {"_id": "\ud800"}, {"_id": "\udc00"}))
        assert await store.conversations.list() == ()


async def test_wrong_line_keeps_nothing(tmp_path: Path) -> None:
    """All or none, also where what is wrong comes last."""
    async with Store(tmp_path) as store:
        with pytest.raises(UsageError, match="line 2"):
            await store.conversations.take(lines({}, {"conversation": "tuesday", "rating": "x"}))
        assert await store.conversations.list(owner=None) == ()


async def test_imported_turns_are_for_who_sees_as_much(tmp_path: Path) -> None:
    """As whoever imported them, and by a link for who sees everything: nobody knows what they are made of."""
    hr, more, none = (
        Viewer(groups=frozenset(each)) for each in (["group:hr"], ["group:hr", "group:it"], ())
    )  # fmt: skip
    bound = Viewer(groups=frozenset({"group:hr"}), contexts=frozenset({"c"}))
    async with Store(tmp_path) as store:
        await store.create("c", readers=["group:management"])
        kept = store.conversations
        await kept.take(lines({}), viewer=hr)
        seen = [len(await kept.turns("monday", viewer=each)) for each in (None, hr, more, none, bound)]
        assert seen == [1, 1, 1, 0, 0]
        _, token = await kept.links.make("monday", viewer=hr)
        shown = [len((await kept.links.open(token, viewer=each)).turns) for each in (None, hr, more, none)]
        assert shown == [1, 0, 0, 0]
        await store.delete("c")  # now nothing is hidden from anybody
        assert len((await kept.links.open(token, viewer=none)).turns) == 1


async def test_exported_passages_are_imported(tmp_path: Path) -> None:
    """From lines as the command prints them, whatever their texts; they are what the answer cites, as before."""
    item = Item(id="a", title="T", text="28 days", source="s", metadata={"page": 3})
    async with Store(tmp_path / "one") as one, Store(tmp_path / "two") as two:
        turn: dict[str, Any] = {"query": "q", "answer": "28 [1].", "model": "m", "run_id": "r", "contexts": ["c"]}
        packed = [PackedItem(number=1, item=item, text="28 \ud83d\0 days", score=0.25)]
        await one.conversations.replace_turn(None, "t", None, items=packed, files=("hours.docx",), **turn)
        (kept,) = await one.conversations.turns("t")
        file = json.dumps(_query_json(await one.conversations.get("t"), kept)).encode()
        await two.conversations.take(file)
        (found,) = await two.conversations.turns("t")
        (passage,) = found.passages
        assert (found.context, passage.id, passage.place, passage.relevance) == ("c", "a", "page 3", 0.25)
        assert (passage.text, found.files) == ("28 \ufffd\0 days", ("hours.docx",))


async def test_longest_names_and_most_files_of_a_turn_are_imported(tmp_path: Path) -> None:
    """Whatever an item is called, and however many files a question is about: what is kept is what an import takes."""
    long = "n" * 5000
    item = Item(id=long, title=long, text="28 days", source=long)
    async with Store(tmp_path) as store:
        turn: dict[str, Any] = {"query": "q", "answer": "28 [1].", "model": "m", "run_id": "r", "contexts": ["c"]}
        packed = [PackedItem(number=1, item=item, text="28 days", score=0.25)]
        await store.conversations.replace_turn(None, "t", None, items=packed, files=[long] * 40, **turn)
        (kept,) = await store.conversations.turns("t")
        assert (len(kept.files), len(kept.passages[0].id)) == (32, 4096)
        file = json.dumps(_query_json(await store.conversations.get("t"), kept)).encode()
        await store.conversations.take(file, owner="ann")
        (found,) = await store.conversations.turns("t", owner="ann")
        assert (found.files, found.passages) == (kept.files, kept.passages)
