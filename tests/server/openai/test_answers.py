"""What answers to chats tell beside their text: token counts, thoughts, tool calls and sources."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from nexus_core import Chunk, Completion, Item, ToolCall, Usage
from nexus_core.contract.values import ToolCallDelta
from nexus_core.server.access.identity import Identity

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    import openai

    from tests.server.conftest import Fakes, Running, Start
    from tests.server.openai.conftest import RawClient

CHAT = "/v1/chat/completions"
BODY: Any = {"model": "nexus/talk", "messages": [{"role": "user", "content": "Which trains and flights?"}]}
USAGE = Usage(prompt_tokens=90, completion_tokens=20, cached_tokens=64, reasoning_tokens=12)
THINKS = [Chunk(reasoning="Let me "), Chunk("Yes", reasoning="see."), Chunk(finish_reason="stop", usage=USAGE)]
WEB = Item(
    id="web", title="Trains", text="Trains and flights: see the timetable.", source="https://me:pw@example.org/t"
)
PDF = Item(id="a.pdf#2", text="Trains and flights are on page 2.", source="a.pdf", metadata={"page": 2, "line": 9})


async def test_cached_and_reasoning_tokens_are_told(client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """Where OpenAI has them; whole and in streams."""
    fakes.connectors["main"].replies = [Completion(text="Yes.", finish_reason="stop", usage=USAGE), THINKS]
    whole = await client.chat.completions.create(**BODY)
    options: Any = {"stream_options": {"include_usage": True}}
    chunks = [each async for each in await client.chat.completions.create(**BODY, stream=True, **options)]
    for usage in (whole.usage, chunks[-1].usage):
        told: Any = usage
        assert told.prompt_tokens_details.cached_tokens == 64
        assert told.completion_tokens_details.reasoning_tokens == 12


async def test_details_that_are_unknown_are_left_out(raw: RawClient) -> None:
    """Never 0."""
    _, told = await raw.post(CHAT, **BODY)
    assert told["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@pytest.mark.parametrize("shows", [False, True], ids=["hidden", "shown"])
async def test_thoughts_are_told_where_the_operator_says_so(start: Start, fakes: Fakes, shows: bool) -> None:
    """They may quote instructions and passages that the answer leaves out."""
    running = await start(show_reasoning=shows)
    fakes.connectors["own"].replies = [Completion(text="Yes", finish_reason="stop", reasoning="Let me see."), THINKS]
    body = {**BODY, "model": "nexus/own"}
    _, told = await running.call("POST", CHAT, json=body)
    async with running.session.post(running.origin + CHAT, json={**body, "stream": True}) as response:
        text = await response.text()
    assert told["choices"][0]["message"].get("reasoning_content") == ("Let me see." if shows else None)
    assert [text.count(f'"reasoning_content": "{each}"') for each in ("Let me ", "see.")] == [shows, shows]
    assert text.count('"role": "assistant"') == 1


async def test_tool_calls_of_a_model_are_told(client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """Whole, and in streams in the parts in which they came."""
    call = ToolCall(id="c1", name="weather", arguments='{"city": "Rome"}')
    parts = [ToolCallDelta(index=0, id="c1", name="weather"), ToolCallDelta(index=0, arguments='{"city": "Rome"}')]
    fakes.connectors["main"].replies = [
        Completion(text="", finish_reason="tool_calls", tool_calls=(call,)),
        [*(Chunk(tool_calls=(part,)) for part in parts), Chunk(finish_reason="tool_calls")],
    ]
    whole = (await client.chat.completions.create(**BODY)).choices[0]
    assert (whole.finish_reason, whole.message.content) == ("tool_calls", None)
    async with client.chat.completions.stream(**BODY) as stream:
        streamed = (await stream.get_final_completion()).choices[0]
    for choice in (whole, streamed):
        found: Any = (choice.message.tool_calls or [])[0]
        assert (found.id, found.function.name, found.function.arguments) == ("c1", "weather", '{"city": "Rome"}')


async def cited(running: Running, fakes: Fakes, *items: Item, key: str = "admin") -> dict[str, int]:
    """Let the model cite all it is given; return the numbers of the items by id."""
    await running.store.add("handbook", items)
    fakes.connectors["main"].replies = ["See [1], [2], [3], [4], [5] and [99]."]
    await running.call("POST", CHAT, json=BODY, headers={"X-Api-Key": key})
    return {packed.item.id: packed.number for packed in fakes.connectors["main"].prompts[0].items}


async def test_sources_stand_on_the_message_and_at_the_end_of_a_stream(
    client: openai.AsyncOpenAI, running: Running, fakes: Fakes
) -> None:
    """Each citation with its place in the text: on the web, or in the server's own page with the page of the file."""
    numbers = await cited(running, fakes, WEB, PDF)
    message = (await client.chat.completions.create(**BODY)).choices[0].message
    chunks = [each async for each in await client.chat.completions.create(**BODY, stream=True)]
    found = {message.content[a.start_index : a.end_index]: a for a in map(_of, message.annotations or [])}
    assert set(found) == {f"[{number}]" for number in numbers.values()}
    assert found[f"[{numbers['web']}]"].url == "https://example.org/t"
    own = found[f"[{numbers['a.pdf#2']}]"]
    assert (own.title, own.url) == (
        "a.pdf, page 2", f"{running.origin}/#contexts/handbook/items/a.pdf%232/page/2"
    )  # fmt: skip
    delta: Any = chunks[-2].choices[0].delta
    assert [each["url_citation"]["url"] for each in delta.annotations] == [
        each.url for each in map(_of, message.annotations or [])
    ]
    assert chunks[-1].choices[0].finish_reason == "stop"
    async with client.chat.completions.stream(**BODY) as stream:
        final = (await stream.get_final_completion()).choices[0].message
    assert [each.url for each in map(_of, final.annotations or [])] == [
        a.url for a in map(_of, message.annotations or [])
    ]


async def test_address_of_a_source_opens_the_page(running: Running, raw: RawClient, fakes: Fakes) -> None:
    """Of the server that was asked."""
    await cited(running, fakes, PDF)
    _, told = await raw.post(CHAT, **BODY)
    url = told["choices"][0]["message"]["annotations"][0]["url_citation"]["url"]
    async with running.session.get(url) as response:
        assert (response.status, urlsplit(url).fragment[:17]) == (200, "contexts/handbook")


async def test_names_of_contexts_are_for_keys_that_may_read(
    start: Start, handbook: Path, tmp_path: Path, fakes: Fakes
) -> None:
    """To others only sources on the web are told."""

    async def verify(key: str) -> Identity | None:
        return Identity(owner="ann", scopes=frozenset({key}))

    shutil.copytree(handbook, tmp_path / "store")
    running = await start(verify=verify)
    numbers = await cited(running, fakes, WEB, PDF)
    for scope, most in (("query", {numbers["web"]}), ("admin", set(numbers.values()))):
        _, told = await running.call("POST", CHAT, json=BODY, headers={"X-Api-Key": scope})
        message = told["choices"][0]["message"]
        spans = [each["url_citation"] for each in message["annotations"]]
        assert {int(message["content"][a["start_index"] + 1 : a["end_index"] - 1]) for a in spans} == most


async def test_answer_without_citations_has_no_sources(raw: RawClient) -> None:
    """The list is there and empty; streams have no event for it."""
    _, told = await raw.post(CHAT, **BODY)
    assert told["choices"][0]["message"]["annotations"] == []
    assert "annotations" not in str(await raw.events(CHAT, **BODY))


async def test_list_of_sources_follows_the_text_where_the_server_says_so(
    start: Start, handbook: Path, tmp_path: Path, fakes: Fakes
) -> None:
    """For clients that show text alone; each source once, also where it has no address."""
    shutil.copytree(handbook, tmp_path / "store")
    listing = await start(list_sources=True)
    numbers = await cited(listing, fakes, WEB)
    fakes.connectors["main"].replies = [f"See [{numbers['web']}] and [{numbers['web']}]."]
    fakes.connectors["own"].replies = ["See [1]."]
    _, told = await listing.call("POST", CHAT, json=BODY)
    under = f"\n\nSources:\n- [{numbers['web']}] Trains: https://example.org/t"
    assert told["choices"][0]["message"]["content"].partition(".")[2] == under
    async with listing.session.post(listing.origin + CHAT, json={**BODY, "stream": True}) as response:
        assert "Sources:\\n- [" in await response.text()
    _, told = await listing.call("POST", CHAT, json={**BODY, "model": "nexus/own"})
    assert told["choices"][0]["message"]["content"] == "See [1].\n\nSources:\n- [1] Leave"


def _of(annotation: Any) -> Any:
    return annotation.url_citation
