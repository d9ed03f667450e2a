"""Tools that change something, asked for by the query API: the owner of a run agrees before one is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from nexus_core import Chunk, Store, ToolCallDelta
from nexus_core.store.access.api_keys import ApiKeys
from tests.server.test_runs import Event, ask, events_of, follow, until

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Start

pytestmark = pytest.mark.slow

PLUGIN = '''from nexus_core import hookimpl, tool
from tests.server.test_approvals import BOOKED


@tool(changes=True)
def book(day: int) -> str:
    """Book a table."""
    BOOKED.append(day)
    return "booked"


@hookimpl
def nexus_tools():
    return [book]
'''
PIPELINE = """name: own
plugins: [./booking.py]
models: {main: {use: fake, to: own}}
steps:
  - generate: {tools: [booking.book], allow: [book]MORE}
"""
BOOKED: list[int] = []
"""What the tool has done."""
BODY: dict[str, Any] = {"query": "Book.", "contextId": "own", "pipeline": "own"}
STREAM = BODY | {"options": {"stream": True, "approveTools": True}}
BACKGROUND = BODY | {"options": {"background": True, "approveTools": True}}


@pytest.fixture(autouse=True)
def serving(fakes: Fakes, tmp_path: Path) -> None:
    """Let the model book two tables, and then say so."""
    (tmp_path / "booking.py").write_text(PLUGIN)
    BOOKED.clear()
    own = fakes.connectors["own"]
    own.model_info = evolve(own.model_info, capabilities=frozenset({"streaming", "tools"}))
    calls = [ToolCallDelta(index=n, id=f"s{n}", name="book", arguments=f'{{"day": {n + 3}}}') for n in range(2)]
    own.replies = [[Chunk(tool_calls=tuple(calls)), Chunk(finish_reason="tool_calls")], "It is done."]


def pipelines(more: str = "") -> dict[str, str]:
    return {"own": PIPELINE.replace("MORE", more)}


async def decide(running: Any, asked: dict[str, Any] | str, approved: Any, run: str = "", key: str = "") -> int:
    """Answer an event, and return the status."""
    call = asked if isinstance(asked, str) else asked["callId"]
    status, _ = await running.call(
        "POST",
        f"/api/runs/{run or call.partition('.')[0]}/approvals/{call}",
        json={"approved": approved},
        headers={"Authorization": f"Bearer {key}"} if key else {},
    )
    return int(status)


@asynccontextmanager
async def asking(running: Any, key: str = "") -> AsyncIterator[tuple[AsyncIterator[Event], list[Event]]]:
    """Give the rest of a stream, and its events up to those that ask, of which there are two."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with running.session.post(running.origin + "/api/queries", json=STREAM, headers=headers) as response:
        assert response.status == 200, await response.text()
        events = events_of(response)
        yield events, [await anext(events) for _ in range(3)]


def types(events: list[Event]) -> list[str]:
    return [told["type"] for _, told in events if told["type"] != "chunk"]


async def test_a_stream_asks_about_each_call_and_goes_on_as_its_owner_says(start: Start) -> None:
    """All at once; what is refused does not run, and the answer tells of both."""
    running = await start(pipelines=pipelines())
    async with asking(running) as (events, begun):
        (_, first), (_, second) = begun[1:]
        asked = {told["arguments"]["day"]: told for told in (first, second)}
        assert (first["name"], first["description"]) == ("book", "Book a table.")
        assert BOOKED == []
        assert await decide(running, asked[3], False) == 204
        assert await decide(running, asked[4], True) == 204
        rest = [event async for event in events]
    assert types(begun + rest) == ["start", "approval", "approval", "decision", "decision", "tool", "end"]
    decisions = {told["callId"]: (told["approved"], told["expired"]) for _, told in rest if told["type"] == "decision"}
    assert decisions == {asked[3]["callId"]: (False, False), asked[4]["callId"]: (True, False)}
    assert BOOKED == [4]
    assert [call["outcome"] for call in rest[-1][1]["tools"]] == ["not_approved", "ok"]
    assert await follow(running, begun[0][1]["id"]) == begun + rest


async def test_without_approve_tools_what_the_pipeline_allows_is_called(start: Start) -> None:
    """And to ask for it, a client has to hear of events."""
    running = await start(pipelines=pipelines())
    events = await ask(running, BODY | {"options": {"stream": True}})
    assert types(events) == ["start", "tool", "end"]
    assert sorted(BOOKED) == [3, 4]
    status, told = await running.call("POST", "/api/queries", json=BODY | {"options": {"approveTools": True}})
    assert (status, told["code"]) == (400, "invalid_request")


async def test_who_may_not_decide_decides_nothing(start: Start) -> None:
    """Neither another owner, nor without a decision, nor on a call that is not asked about; the first answer holds."""
    running: Any = await start(pipelines=pipelines())
    keys = {name: (await ApiKeys(running.store).new(name, ("query", "read")))[1] for name in ("ann", "bob")}
    reader = (await ApiKeys(running.store).new("ann", ("read",)))[1]
    running.server.keys._read_at = None
    ann, bob = keys["ann"], keys["bob"]
    async with asking(running, ann) as (events, begun):
        run, first, second = begun[0][1]["id"], begun[1][1], begun[2][1]
        assert await decide(running, first, True, key=bob) == 404
        assert await decide(running, first, True, key=reader) == 403
        assert await decide(running, first, True) == 401
        for wrong in ("true", 1, None):
            assert await decide(running, first, wrong, key=ann) == 400
        for unknown in (f"{run}.99", "x", "%00", first["callId"].upper() + "'"):
            assert await decide(running, unknown, True, run, key=ann) == 404
        assert await decide(running, first, True, "0" * 32, key=ann) == 404
        assert BOOKED == []
        assert [await decide(running, first, said, key=ann) for said in (False, False, True)] == [204, 204, 409]
        both = await asyncio.gather(*[decide(running, second, said, key=ann) for said in (True, False)])
        assert sorted(both) == [204, 409]
        rest = [event async for event in events]
    assert len(BOOKED) == both.index(204) * -1 + 1
    assert types(rest)[-1] == "end"
    assert [await decide(running, first, said, key=ann) for said in (False, True)] == [204, 409]  # also when it is over
    assert len(BOOKED) == both.index(204) * -1 + 1


async def test_nobody_answers_in_time(start: Start) -> None:
    """That is a refusal, which comes as an event; who agrees later is told so."""
    running = await start(pipelines=pipelines(", approval_timeout: 2200ms"))
    before = time()
    async with asking(running) as (events, begun):
        rest = [event async for event in events]
    expired = [told["expired"] for _, told in rest if told["type"] == "decision"]
    assert (expired, BOOKED) == ([True, True], [])
    assert 0 < begun[1][1]["expires"] - before < 60
    assert rest[-1][1]["tools"][0]["outcome"] == "not_approved"


async def test_a_run_that_is_ended_while_it_waits_calls_nothing(start: Start, fakes: Fakes) -> None:
    """Nothing waits for an answer any more."""
    running: Any = await start(pipelines=pipelines())
    async with asking(running) as (events, begun):
        run = begun[0][1]["id"]
        live = running.server.runs.journal.live[run]
        assert (await running.call("DELETE", f"/api/runs/{run}"))[0] == 204
        rest = [event async for event in events]
    assert (rest[-1][1]["code"], live.waiting) == ("run_cancelled", {})
    assert await decide(running, begun[1][1], True) == 404
    assert (BOOKED, len(fakes.connectors["own"].prompts)) == ([], 1)


async def test_a_store_that_may_only_be_read_asks_nobody(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then there is nobody to agree, which is a refusal."""
    async with Store(tmp_path / "store"):
        pass
    monkeypatch.setattr("nexus_core.store.database.paths.StorePaths.may_be_written", lambda self: False)
    running = await start(store=Store(tmp_path / "store"), pipelines=pipelines())
    events = await ask(running, STREAM)
    assert types(events) == ["start", "tool", "end"]
    assert ([call["outcome"] for call in events[-1][1]["tools"]], BOOKED) == (["not_approved"] * 2, [])


async def test_a_run_in_the_background_asks_whoever_reads_it(start: Start) -> None:
    """It waits for its owner, and not for a client of its own."""
    running: Any = await start(pipelines=pipelines())
    _, told = await running.call("POST", "/api/queries", json=BACKGROUND)
    await until(lambda: len(running.server.runs.journal.live[told["id"]].waiting) == 2)
    for call in [*running.server.runs.journal.live[told["id"]].waiting]:
        assert await decide(running, call, True) == 204
    events = await follow(running, told["id"])
    assert types(events) == ["start", "approval", "approval", "decision", "decision", "tool", "end"]
    assert sorted(BOOKED) == [3, 4]
