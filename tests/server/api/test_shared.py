"""Links to conversations over HTTP: what whoever opens one is shown, and what ends it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core import Store
from nexus_core.server.access.identity import Identity
from tests.server.api.test_conversations import ask, key

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running, Start

LINK = "/api/conversations/monday/link"


@pytest.fixture
async def guarded(start: Start) -> Running:
    """A server whose keys are the names of their owners."""

    async def verify(key: str) -> Identity | None:
        scopes = {"ann": {"query"}, "bob": {"read"}, "cat": {"query"}}.get(key)
        return None if scopes is None else Identity(owner=key, scopes=frozenset(scopes))

    return await start(verify=verify)


async def share(running: Running, **more: Any) -> str:
    """Make a link to `monday`, and return the address that it is opened at."""
    status, told = await running.call("PUT", LINK, json=more.pop("json", {}), **more)
    assert status == 200, told
    return f"/api/shared/{told['token']}"


async def test_link_shows_the_conversation_as_it_was(guarded: Running, fakes: Fakes) -> None:
    """To whoever has a key: its turns until then with what they cite, and nothing else of its owner."""
    fakes.connectors["own"].replies = ["There are 28 days [1].", "None."]
    await ask(guarded, "monday", **key("ann"))
    path = await share(guarded, **key("ann"))
    await ask(guarded, "monday", **key("ann"))
    await guarded.call("PATCH", "/api/conversations/monday", json={"title": "Of later"}, **key("ann"))
    status, told = await guarded.call("GET", path, **key("bob"))
    (turn,) = told.pop("turns")
    assert (status, told) == (
        200, {"title": "Leave?", "created": told["created"], "expires": None, "isPartial": False, "next": None},
    )  # fmt: skip
    assert set(turn) == {"number", "time", "query", "response", "model", "contextId", "contextItems", "files"}
    (cited,) = turn["contextItems"]
    assert (turn["response"], cited["number"], cited["id"], cited["title"], cited["whole"]) == (
        "There are 28 days [1].", 1, "leave", "Leave", True,
    )  # fmt: skip
    assert cited["text"].endswith("28 days of leave.")
    assert (await guarded.call("GET", f"{path}?after=1", **key("bob")))[1]["turns"] == []


async def test_link_is_for_who_has_a_key(guarded: Running) -> None:
    """And only its owner makes, sees and withdraws it: to others there is no such conversation."""
    await ask(guarded, "monday", **key("ann"))
    path = await share(guarded, **key("ann"))
    ways: tuple[tuple[str, dict[str, Any]], ...] = (("GET", {}), ("PUT", {"json": {}}), ("DELETE", {}))
    for method, more in ways:
        assert (await guarded.call(method, LINK, **key("bob"), **more))[0] == 403
        status, told = await guarded.call(method, LINK, **key("cat"), **more)
        assert (status, told["code"]) == (404, "conversation_not_found")
        for name in ("nobody", ""):
            assert (await guarded.call(method, LINK, **key(name), **more))[0] == 401
    assert (await guarded.call("GET", path))[0] == 401
    assert (await guarded.call("GET", path, **key("cat")))[0] == 200


@pytest.mark.parametrize("end", ["withdrawn", "replaced", "deleted", "expired", "over"])
async def test_link_ends(running: Running, end: str) -> None:
    """When it is withdrawn, another takes its place, its conversation is deleted or over, or its time is."""
    await ask(running, "monday")
    path = await share(running, json={"livesS": 3600})
    assert (await running.call("GET", path))[0] == 200
    if end == "withdrawn":
        assert (await running.call("GET", LINK))[1]["link"]["turns"] == 1
        assert [await running.call("DELETE", LINK) for _ in range(2)] == [(204, None)] * 2
        assert (await running.call("GET", LINK))[1] == {"link": None}
    elif end == "replaced":
        assert await share(running) != path
    elif end == "deleted":
        await running.call("DELETE", "/api/conversations/monday")
        await ask(running, "monday")
    else:
        table = "share_links" if end == "expired" else "conversations"
        await running.store.write(lambda connection: connection.execute(f"UPDATE {table} SET expires = 1"))
    status, told = await running.call("GET", path)
    assert (status, told["code"]) == (404, "link_not_found")


async def test_what_is_no_link_opens_nothing(running: Running) -> None:
    """Neither a part of one, nor what the store keeps of it; nor is there a link to nothing."""
    await ask(running, "monday")
    token = (await share(running)).rpartition("/")[2]
    assert len(token) == 43
    with sqlite3.connect(running.store.folder.database) as connection:
        (digest,) = connection.execute("SELECT digest FROM share_links").fetchone()
    connection.close()
    assert token.encode() not in running.store.folder.database.read_bytes()
    for wrong in (
        token[:-1],
        token + "x",
        token.swapcase(),
        digest.hex(),
        "%00",
        "x" * 129,
        "monday",
        "%27%20OR%201=1",
    ):
        status, told = await running.call("GET", f"/api/shared/{wrong}")
        assert (status, told["code"]) == (404, "link_not_found"), wrong
    await running.store.conversations.new("empty")
    status, told = await running.call("PUT", LINK.replace("monday", "empty"), json={})
    assert (status, told["code"]) == (409, "nothing_to_share")
    for wrong_life in (0, -1, "1d", 1e11):
        assert (await running.call("PUT", LINK, json={"livesS": wrong_life}))[0] == 400


async def test_turns_of_older_versions_have_no_passages(running: Running) -> None:
    """Nobody knows what they cited."""
    await running.store.conversations.add("monday", query="q", answer="a [1]", model="m", run_id="r")
    path = await share(running)
    assert (await running.call("GET", path))[1]["turns"][0]["contextItems"] == []


async def test_backup_of_a_store_opens_its_links(running: Running, tmp_path: Any) -> None:
    """As they belong to it: a restored server serves the links that were given out."""
    await ask(running, "monday")
    token = (await share(running)).rpartition("/")[2]
    await running.store.backup(tmp_path / "backup")
    async with Store(tmp_path / "backup") as copy:
        assert (await copy.conversations.links.open(token)).link.title == "Leave?"


async def test_an_operator_turns_links_off(start: Start) -> None:
    """None is made, told of or opened, also none from before; what there is can be ended, and holds again later."""
    shares = await start()
    await ask(shares, "monday")
    path = await share(shares)
    assert (await shares.call("GET", "/api/identity"))[1]["mayShare"] is True
    off = await start(store=Store(shares.store.folder.root), shares=False)
    for method, place in (("GET", LINK), ("PUT", LINK), ("GET", path)):
        status, told = await off.call(method, place, **({"json": {}} if method == "PUT" else {}))
        assert (status, told["code"]) == (403, "sharing_off")
    assert (await off.call("GET", "/api/identity"))[1]["mayShare"] is False
    assert (await shares.call("GET", path))[0] == 200
    assert (await off.call("DELETE", LINK))[0] == 204
    assert (await shares.call("GET", path))[0] == 404
