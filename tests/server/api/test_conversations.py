"""Conversations over HTTP: everybody's own, and nobody else's."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core import ModelNotFoundError, Store
from nexus_core.server.access.identity import Identity
from nexus_core.store.conversations import conversation_search

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running, Start

PATH = "/api/conversations"


async def ask(running: Running, conversation: str, **more: Any) -> int:
    body = {"query": "Leave?", "contextId": "own", "pipeline": "own", "options": {"conversationId": conversation}}
    status, _ = await running.call("POST", "/api/queries", json=body, **more)
    return status


@pytest.fixture
async def guarded(start: Start) -> Running:
    """A server whose keys are the names of their owners."""

    async def verify(key: str) -> Identity | None:
        return Identity(owner=key, scopes=frozenset({"query"})) if key in ("ann", "bob") else None

    return await start(verify=verify)


def key(owner: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Authorization": f"Bearer {owner}"}}


async def test_conversation_is_shown_with_its_turns(running: Running) -> None:
    """In their order, page by page."""
    assert [await ask(running, "monday") for _ in range(3)] == [200] * 3
    _, first = await running.call("GET", f"{PATH}/monday?limit=2")
    _, second = await running.call("GET", f"{PATH}/monday?after={first['next']}")
    turns = first["turns"] + second["turns"]
    assert ([turn["number"] for turn in turns], second["next"]) == ([1, 2, 3], None)
    assert (turns[0]["query"], turns[0]["response"], turns[0]["model"]) == ("Leave?", "An answer.", "main")
    assert first["conversation"]["turns"] == 3


async def test_conversation_has_its_first_question_for_a_title(running: Running) -> None:
    """Cut where it is long; later questions do not change it."""
    await ask(running, "monday")
    later = {"query": "And " + "trains? " * 50, "pipeline": "talk", "contextId": "handbook"}
    for name in ("monday", "tuesday"):
        await running.call("POST", "/api/queries", json={**later, "options": {"conversationId": name}})
    _, told = await running.call("GET", PATH)
    assert [each["title"] for each in told["conversations"]] == [later["query"][:200], "Leave?"]


async def test_conversation_is_renamed(running: Running) -> None:
    """It keeps its place in the list, and has its first question for a title again where the new one is blank."""
    await ask(running, "monday")
    await ask(running, "tuesday")
    for title, told in (("Trains \ud83d\ude86", "Trains \U0001f686"), (" ", "Leave?"), (None, "Leave?")):
        status, changed = await running.call("PATCH", f"{PATH}/monday", json={"title": title})
        assert (status, changed["title"]) == (200, told)
        _, listed = await running.call("GET", PATH)
        assert [each["title"] for each in listed["conversations"]] == ["Leave?", told]
    for wrong in ({"title": "x" * 201}, {}, {"title": 1}):
        assert (await running.call("PATCH", f"{PATH}/monday", json=wrong))[0] == 400


async def test_answer_is_rated(running: Running) -> None:
    """By its run's id; the next rating takes the place of the last one, with its comment."""
    await ask(running, "monday")
    _, shown = await running.call("GET", f"{PATH}/monday")
    turn = shown["turns"][0]
    assert (turn["rating"], turn["comment"]) == (None, None)
    place = f"{PATH}/monday/turns/{turn['id']}/rating"
    for rating, comment in (("down", "Wrong year"), ("up", None), (None, None)):
        status, told = await running.call("PUT", place, json={"rating": rating, "comment": comment})
        assert (status, told) == (200, {**turn, "rating": rating, "comment": comment})
        assert (await running.call("GET", f"{PATH}/monday"))[1]["turns"] == [told]
    for wrong in ({}, {"rating": "good"}, {"rating": "up", "comment": "x" * 2001}):
        assert (await running.call("PUT", place, json=wrong))[0] == 400
    for path, code in (("monday/turns/x", "turn_not_found"), (f"x/turns/{turn['id']}", "conversation_not_found")):
        status, told = await running.call("PUT", f"{PATH}/{path}/rating", json={"rating": "up"})
        assert (status, told["code"]) == (404, code)


async def test_conversations_are_imported_for_who_sends_them(guarded: Running) -> None:
    """Whoever the file says that they are of; what is wrong with it is told, and changes nothing."""
    line = {"_id": "r1", "text": "Leave?", "conversation": "monday", "owner": "bob", "response": "28 days."}
    file = json.dumps(line).encode()
    sent = {"headers": {**key("ann")["headers"], "Content-Type": "application/octet-stream"}}
    await ask(guarded, "monday", **key("bob"))
    for found, unchanged in ((["monday"], 0), ([], 1)):
        status, told = await guarded.call("POST", PATH, data=file, **sent)
        assert (status, [each["id"] for each in told["conversations"]], told["unchanged"]) == (200, found, unchanged)
    _, mine = await guarded.call("GET", f"{PATH}/monday", **key("ann"))
    assert [turn["response"] for turn in mine["turns"]] == ["28 days."]
    _, theirs = await guarded.call("GET", f"{PATH}/monday", **key("bob"))
    assert [turn["response"] for turn in theirs["turns"]] == ["An answer."]
    status, told = await guarded.call("POST", PATH, data=file + b"\n{}", **sent)
    assert (status, told["code"]) == (422, "unreadable_conversations")
    assert "line 2 has no `conversation`: give JSON Lines as" in told["error"]
    assert (await guarded.call("POST", PATH, data=io.BytesIO(b"x" * (32 * 2**20 + 1)), **sent))[0] == 413
    assert (await guarded.call("POST", PATH, json={}, **key("ann")))[0] == 415
    assert (await guarded.call("POST", PATH, data=file))[0] == 401
    assert len((await guarded.call("GET", PATH, **key("ann")))[1]["conversations"]) == 1


async def test_conversations_are_listed_page_by_page(running: Running) -> None:
    """The last changed first, each once."""
    for name in ("a/1", "b", "c"):
        await ask(running, name)
    _, first = await running.call("GET", f"{PATH}?limit=2")
    _, second = await running.call("GET", PATH, params={"limit": "2", "after": first["next"]})
    assert [each["id"] for each in first["conversations"] + second["conversations"]] == ["c", "b", "a/1"]
    assert second["next"] is None
    assert await running.call("DELETE", f"{PATH}/a%2F1") == (204, None)


@pytest.mark.parametrize("after", ["x", "nan_1", "1", "1_-1", "inf_1", f"1_{10**30}", "1_x"])
async def test_place_that_no_page_gave_is_refused(running: Running, after: str) -> None:
    """As 400."""
    assert (await running.call("GET", f"{PATH}?after={after}"))[0] == 400


async def test_conversation_of_another_owner_is_not_there(guarded: Running) -> None:
    """Neither listed nor shown nor deleted, nor gone on with (fault 202)."""
    assert await ask(guarded, "monday", **key("ann")) == 200
    assert (await guarded.call("GET", PATH, **key("bob")))[1]["conversations"] == []
    for method, more in (("GET", {}), ("DELETE", {}), ("PATCH", {"json": {"title": "Mine"}})):
        status, told = await guarded.call(method, f"{PATH}/monday", **key("bob"), **more)
        assert (status, told["code"]) == (404, "conversation_not_found")
    assert await ask(guarded, "monday", **key("bob")) == 200
    _, mine = await guarded.call("GET", f"{PATH}/monday", **key("ann"))
    assert (mine["conversation"]["turns"], mine["conversation"]["title"]) == (1, "Leave?")


async def test_unknown_conversation_is_told_without_those_of_others(guarded: Running) -> None:
    """What may have been meant is looked for among one's own (fault 202)."""
    await ask(guarded, "monday", **key("ann"))
    _, told = await guarded.call("GET", f"{PATH}/mondau", **key("bob"))
    assert "monday" not in told["error"]


async def asked_again(running: Running, turn: str, query: str = "Again?", **options: Any) -> tuple[int, Any]:
    told = {"conversationId": "monday", "replaces": turn, **options}
    body = {"query": query, "pipeline": "talk", "contextId": "handbook", "options": told}
    return await running.call("POST", "/api/queries", json=body)


async def test_a_turn_that_is_asked_again_is_replaced(running: Running, fakes: Fakes) -> None:
    """The model is told the turns before it alone; the old answer is kept with what followed it."""
    main = fakes.connectors["main"]
    main.replies = ["One.", "Two.", "Three.", "Anew."]
    for query in ("First?", "Second?", "Third?"):
        body = {"query": query, "pipeline": "talk", "contextId": "handbook", "options": {"conversationId": "monday"}}
        await running.call("POST", "/api/queries", json=body)
    _, told = await running.call("GET", f"{PATH}/monday")
    old = told["turns"][1]["id"]
    status, answer = await asked_again(running, old)
    assert (status, answer["response"]) == (200, "Anew.")
    sent = [message.content for message in main.prompts[-1].messages]
    assert [any(word in text for text in sent) for word in ("One.", "Two.", "Three.")] == [True, False, False]
    _, told = await running.call("GET", f"{PATH}/monday")
    assert [(each["query"], each["response"], each["version"], each["versions"]) for each in told["turns"]] == [
        ("First?", "One.", 1, 1), ("Again?", "Anew.", 2, 2),
    ]  # fmt: skip
    for turn in (old, answer["id"]):
        status, told = await running.call("GET", f"{PATH}/monday/turns/{turn}/versions")
        assert (status, [each["response"] for each in told["versions"]]) == (200, ["Two.", "Anew."])
    for turn, words in ((answer["id"], ["One.", "Anew."]), (old, ["One.", "Two.", "Three."])):
        status, changed = await running.call("PUT", f"{PATH}/monday/branch", json={"turnId": turn})
        assert (status, changed["turns"]) == (200, len(words))
        _, told = await running.call("GET", f"{PATH}/monday")
        assert [each["response"] for each in told["turns"]] == words
        await running.call("POST", "/api/queries", json=body)
        sent = [message.content for message in main.prompts[-1].messages]
        assert [word for word in ("One.", "Two.", "Three.", "Anew.") if any(word in text for text in sent)] == words
    for path, code in (("monday", "turn_not_found"), ("tuesday", "conversation_not_found")):
        status, told = await running.call("PUT", f"{PATH}/{path}/branch", json={"turnId": "none"})
        assert (status, told["code"]) == (404, code)


async def test_the_old_answer_stays_until_the_new_one_is_whole(running: Running, fakes: Fakes) -> None:
    """A run that fails replaces nothing; one that asks again for what is not there is refused before it begins."""
    main = fakes.connectors["main"]
    main.replies = ["One.", ModelNotFoundError("is down")]
    fakes.connectors["spare"].replies = [ModelNotFoundError("is down")]
    body = {"query": "First?", "pipeline": "talk", "contextId": "handbook", "options": {"conversationId": "monday"}}
    _, first = await running.call("POST", "/api/queries", json=body)
    status, _ = await asked_again(running, first["id"])
    assert status == 502
    _, told = await running.call("GET", f"{PATH}/monday")
    assert [(each["id"], each["version"]) for each in told["turns"]] == [(first["id"], 1)]
    sent = len(main.prompts)
    assert [(await asked_again(running, turn))[1]["code"] for turn in ("none", "")] == ["turn_not_found"] * 2
    status, told = await asked_again(running, first["id"], conversationId="tuesday")
    assert (status, told["code"], len(main.prompts)) == (404, "turn_not_found", sent)
    lone = {"query": "?", "pipeline": "own", "contextId": "own", "options": {"replaces": first["id"]}}
    status, told = await running.call("POST", "/api/queries", json=lone)
    assert (status, "say by conversationId" in told["error"]) == (400, True)
    assert (await running.call("GET", f"{PATH}/monday/turns/none/versions"))[1]["code"] == "turn_not_found"
    assert (await running.call("GET", f"{PATH}/none/turns/none/versions"))[1]["code"] == "conversation_not_found"


async def test_a_turn_is_asked_again_at_two_servers_at_once(start: Start, fakes: Fakes, tmp_path: Path) -> None:
    """Each answer is kept, and the last to end stands there at both."""
    one, other = [await start(store=Store(tmp_path / "store")) for _ in range(2)]
    await ask(one, "monday")
    _, told = await one.call("GET", f"{PATH}/monday")
    old = told["turns"][0]["id"]
    options = {"conversationId": "monday", "replaces": old}
    body = {"query": "Again?", "pipeline": "own", "contextId": "own", "options": options}
    calls = (each.call("POST", "/api/queries", json=body) for each in (one, other) * 4)
    ids = {answer["id"] for _, answer in await asyncio.gather(*calls)}
    for running in (one, other):
        _, told = await running.call("GET", f"{PATH}/monday/turns/{old}/versions")
        assert [each["version"] for each in told["versions"]] == [*range(1, 10)]
        assert {each["id"] for each in told["versions"]} == {old, *ids}
        assert len((await running.call("GET", f"{PATH}/monday"))[1]["turns"]) == 1


async def found(running: Running, **params: Any) -> tuple[list[tuple[str, str | None]], str | None]:
    """Return the ids that a search finds, each with its excerpt in one text, and where the next page begins."""
    _, told = await running.call("GET", PATH, params=params)
    hits = [(each["id"], each["excerpt"]) for each in told["conversations"]]
    joined = [(id, each and f"{each['before']}({each['words']}){each['after']}") for id, each in hits]
    return joined, told["next"]


async def test_conversations_are_searched(running: Running) -> None:
    """In titles, questions and answers, literally and in any case; hits tell where the words stand."""
    talks = running.store.conversations
    told = {"model": "m"}
    await talks.add("a", query="Wie viel Urlaub?", answer="Über 28 Tage, 100% bezahlt\nim Jahr.", run_id="1", **told)
    await talks.add("b", query="Trains?", answer="x" * 50 + " 100 of under_score " + "y" * 200, run_id="2", **told)
    await talks.add("b", query="Later?", answer="No.", run_id="3", **told)
    await talks.rename("b", "Bahn \\ÜBER Köln")
    for words, hits in (
        ("100%", [("a", "Über 28 Tage, (100%) bezahlt im Jahr.")]),
        ("r_S", [("b", f"…{'x' * 28} 100 of unde(r_s)core {'y' * 115}…")]),
        ("über", [("b", None), ("a", "(Über) 28 Tage, 100% bezahlt im Jahr.")]),
        ("\\ü", [("b", None)]),
        (" urlaub ", [("a", None)]),
        ("nothing", []),
        ("a\0", []),
    ):
        assert await found(running, search=words) == (hits, None), words
    first, after = await found(running, search="100", limit="1")
    assert ([id for id, _ in first], after is None) == (["b"], False)
    assert [id for id, _ in (await found(running, search="100", limit="1", after=str(after)))[0]] == ["a"]
    assert (await running.call("GET", PATH, params={"search": "x" * 201}))[0] == 400


async def test_a_search_looks_at_a_bounded_number_of_conversations(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may find none, and tells where to go on."""
    for name in ("a", "b", "c"):
        await running.store.conversations.add(name, query=f"{name}?", answer="Yes.", model="m", run_id=name)
    monkeypatch.setattr(conversation_search, "LOOKED_AT", 2)
    none, after = await found(running, search="a?")
    assert (none, await found(running, search="a?", after=str(after))) == ([], ([("a", None)], None))
    assert await found(running, search="b?") == ([("b", None)], after)
