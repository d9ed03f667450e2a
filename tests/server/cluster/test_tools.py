"""Runs with tools at two servers of one store in a real Postgres: read on, and let call what changes something."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core import Store
from tests.server.test_approvals import BOOKED, STREAM, decide, pipelines, serving
from tests.server.test_runs import Event, ask, events_of, follow

if TYPE_CHECKING:
    from tests.server.conftest import Start

__all__ = ["serving"]

pytestmark = pytest.mark.slow


@pytest.fixture
async def two(start: Start, postgres: str) -> tuple[Any, Any]:
    """Start two servers of one store."""
    return (
        await start(store=Store(postgres), pipelines=pipelines(), name="one"),
        await start(store=Store(postgres), pipelines=pipelines(), name="other"),
    )


async def test_a_stream_that_asks_is_read_on_and_answered_at_another_server(two: Any) -> None:
    """It has the same events there, from whichever on; the first answer holds, wherever it is given."""
    one, other = two
    begun = await ask(one, STREAM, stop_after=2)
    run = begun[0][1]["id"]
    address, headers = f"{other.origin}/api/runs/{run}/events", {"Last-Event-ID": begun[-1][0]}
    async with other.session.get(address, headers=headers) as response:
        events = events_of(response)
        begun.append(await anext(events))
        first, second = begun[1][1], begun[2][1]
        agreed = [await decide(running, first, said) for running, said in ((other, True), (one, False), (other, True))]
        refused = [await decide(running, second, said) for running, said in ((one, False), (other, True))]
        assert (agreed, refused) == ([204, 409, 204], [204, 409])
        rest = [event async for event in events]
    assert [told["type"] for _, told in rest if told["type"] != "chunk"] == ["decision", "decision", "tool", "end"]
    assert [call["outcome"] for call in rest[-1][1]["tools"]] == ["ok", "not_approved"]
    assert [first["arguments"]["day"]] == BOOKED
    whole = begun + rest
    for place in range(len(whole)):
        for running in two:
            assert await follow(running, run, whole[place][0]) == whole[place + 1 :]
    for strange in ("%00", "%ED%A0%80", f"{run}.%00"):
        assert await decide(other, strange, True, run) == 404


@pytest.mark.parametrize("cut", [1, 2])
async def test_a_stream_with_tools_that_is_cut_is_the_same_at_another_server(two: Any, cut: int) -> None:
    """The event of each round comes once, with each call, whoever reads it and from where on."""
    one, other = two
    body = STREAM | {"options": {"stream": True, "includeTrace": True}}
    begun = await ask(one, body, stop_after=cut)
    rest = await ask(other, body, headers={"Last-Event-ID": begun[-1][0]})
    whole = begun + rest
    run = whole[0][1]["id"]
    assert [id for id, _ in whole] == [f"{run}-{number}" for number in range(1, len(whole) + 1)]
    assert [told["type"] for _, told in whole if told["type"] != "chunk"] == ["start", "tool", "end"]
    assert await follow(one, run) == await follow(other, run) == whole
    [told] = [told for _, told in whole if told["type"] == "tool"]
    assert [(call["name"], call["outcome"], call["result"]) for call in told["calls"]] == [("book", "ok", "booked")] * 2
    assert whole[-1][1]["tools"] == told["calls"]
    assert sorted(BOOKED) == [3, 4]


async def test_a_response_with_tools_that_is_cut_is_the_same_at_another_server(two: Any) -> None:
    """OpenAI's routes show the answer alone, whole; the calls ran once."""
    one, other = two
    body = {"model": "nexus/own", "input": "Book.", "background": True, "stream": True}
    async with one.session.post(one.origin + "/v1/responses", json=body) as response:
        begun = [told async for _, told in _some(events_of(response), 2)]
        response.close()
    id = begun[0]["response"]["id"]
    rest = await _responses(other, id, starting_after=begun[-1]["sequence_number"])
    whole = begun + rest
    assert [told["sequence_number"] for told in whole] == list(range(len(whole)))
    assert await _responses(one, id) == await _responses(other, id) == whole
    assert "".join(told["delta"] for told in whole if told["type"] == "response.output_text.delta") == "It is done."
    assert whole[-1]["type"] == "response.completed"
    assert [item["type"] for item in whole[-1]["response"]["output"]] == ["message"]
    assert sorted(BOOKED) == [3, 4]


async def test_a_streamed_chat_shows_no_calls_of_the_pipeline(two: Any) -> None:
    """Its client could not answer them."""
    body = {"model": "nexus/own", "messages": [{"role": "user", "content": "Book."}], "stream": True}
    async with two[0].session.post(two[0].origin + "/v1/chat/completions", json=body) as response:
        lines = (await response.text()).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    choices = [choice for line in lines[:-2] for choice in json.loads(line.removeprefix("data: "))["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "It is done."
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
    assert not any("tool_calls" in choice["delta"] for choice in choices)
    assert sorted(BOOKED) == [3, 4]


async def _some(events: AsyncIterator[Event], count: int) -> AsyncIterator[Event]:
    for _ in range(count):
        yield await anext(events)


async def _responses(running: Any, id: str, **more: int) -> list[dict[str, Any]]:
    address = f"{running.origin}/v1/responses/{id}"
    async with running.session.get(address, params={"stream": "true", **more}) as response:
        assert response.status == 200, await response.text()
        return [told async for _, told in events_of(response)]
