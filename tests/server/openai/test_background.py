"""Responses in the background, by OpenAI's own client: fetched, streamed from an event on, cancelled, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from nexus_core import Chunk, TruncatedError, Usage
from tests.server.test_runs import until

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running

pytestmark = pytest.mark.slow

BODY: dict[str, Any] = {"model": "nexus/own", "input": "How many days of leave?", "background": True}


async def ended(client: openai.AsyncOpenAI, id: str) -> Any:
    """Return a response once it is complete, as its stream tells it."""
    events = [event async for event in await client.responses.retrieve(id, stream=True)]
    return events[-1].response  # type: ignore[union-attr]


async def test_a_response_in_the_background_is_fetched_later(client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """At once it is in progress; then it is what the request itself would have been told."""
    fakes.connectors["own"].replies = ["28 days."]
    begun = await client.responses.create(**BODY)
    assert (begun.status, begun.background) == ("in_progress", True)
    told = await ended(client, begun.id)
    assert (told.status, told.output_text, told.id) == ("completed", "28 days.", begun.id)
    assert (await client.responses.retrieve(begun.id)).model_dump() == told.model_dump()


async def test_a_stream_goes_on_after_any_of_its_events(client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """`starting_after` names the last one that came."""
    fakes.connectors["own"].replies = ["There are 28 days of leave."]
    events: list[Any] = [event async for event in await client.responses.create(**BODY, stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    id = events[0].response.id
    for cut in range(len(events) - 1):
        rest = [event async for event in await client.responses.retrieve(id, stream=True, starting_after=cut)]
        assert rest == events[cut + 1 :]
    assert len(fakes.connectors["own"].prompts) == 1


async def test_a_response_is_cancelled_and_deleted(client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """Its upstream ends; cancelled again it is the same; deleted it is not there."""
    fakes.connectors["own"].replies = [[Chunk("There "), float("inf")]]
    begun = await client.responses.create(**BODY)
    await until(lambda: fakes.connectors["own"].running == 1)
    told = await client.responses.cancel(begun.id)
    assert (told.status, fakes.connectors["own"].running) == ("cancelled", 0)
    assert (await client.responses.cancel(begun.id)).status == "cancelled"
    await client.responses.delete(begun.id)
    with pytest.raises(openai.NotFoundError, match="no response"):
        await client.responses.retrieve(begun.id)


async def test_a_response_that_fails_tells_why(client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """In its status, not as that of a request."""
    fakes.connectors["own"].replies = [("There ", TruncatedError("cut", provider="fake", model="own"))]
    begun = await client.responses.create(**BODY)
    with pytest.raises(openai.APIError, match="cut"):  # what the client makes of the event `error`
        await ended(client, begun.id)
    told: Any = await client.responses.retrieve(begun.id)
    assert (told.status, told.error.code) == ("failed", "upstream_truncated")


async def test_other_responses_are_not_kept(client: openai.AsyncOpenAI, running: Running) -> None:
    """Nor are runs of the query API responses."""
    told = await client.responses.create(model="nexus/own", input="How many?")
    query = {"query": "How many?", "contextId": "own", "pipeline": "own"}
    _, run = await running.call("POST", "/api/queries", json=query, headers={"Idempotency-Key": "k"})
    for id in (told.id, f"resp_{run['id']}", run["id"]):
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(id)


async def test_a_response_that_is_too_large_to_be_kept_is_not_in_progress_for_ever(
    client: openai.AsyncOpenAI, fakes: Fakes, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who fetches it hears that it is gone."""
    monkeypatch.setattr("nexus_core.server.runs.live_run.MOST_BYTES", 1000)
    fakes.connectors["own"].replies = ["There are 28 days. " * 100]
    journal = running.server.runs.journal
    assert journal is not None
    begun = await client.responses.create(**BODY)
    await until(lambda: not journal.live)
    with pytest.raises(openai.APIStatusError, match="larger than") as told:
        await client.responses.retrieve(begun.id)
    assert (told.value.status_code, told.value.code) == (410, "answer_not_kept")


async def test_events_that_are_not_kept_are_an_error_to_clients_of_openai(
    client: openai.AsyncOpenAI, fakes: Fakes, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which says where the stream goes on, instead of an event that they do not know, or a text with a hole."""
    monkeypatch.setattr("nexus_core.server.runs.live_run.MOST_BYTES", 20_000)
    pieces = [each for number in range(200) for each in (Chunk(f"w{number} "), 0.0)]
    fakes.connectors["own"].replies = [[*pieces, Chunk(finish_reason="stop", usage=Usage())]]
    journal = running.server.runs.journal
    assert journal is not None
    events: list[Any] = [event async for event in await client.responses.create(**BODY, stream=True)]
    await until(lambda: not journal.live)
    id = events[0].response.id
    with pytest.raises(openai.APIStatusError, match="not kept any more") as told:
        await client.responses.retrieve(id, stream=True)
    assert (told.value.status_code, told.value.code) == (410, "events_not_kept")
    next_one = int(str(told.value.message).partition("starting_after=")[2].split("'")[0])
    resumed = await client.responses.retrieve(id, stream=True, starting_after=next_one)
    rest: list[Any] = [event async for event in resumed]
    assert rest == events[next_one + 1 :]
    assert rest[-1].response.output_text == (await client.responses.retrieve(id)).output_text
