"""The Responses API, asked by OpenAI's own client and by raw requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from nexus_core import Chunk, Completion, Item, ToolCall, TruncatedError, Usage
from nexus_core.contract.values import ToolCallDelta

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running, Start
    from tests.server.openai.conftest import RawClient

RESPONSES = "/v1/responses"
BODY: Any = {"model": "nexus/talk", "input": "How many days of leave?"}
USAGE = Usage(prompt_tokens=90, completion_tokens=20, cached_tokens=64, reasoning_tokens=12)
WEB = Item(id="web", title="Leave", text="Days of leave: see there.", source="https://example.org/leave")
STREAMED = [
    "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
    "response.content_part.done", "response.output_item.done", "response.completed",
]  # fmt: skip


async def test_client_gets_a_response_with_usage(client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """Text out, and the counts with their details."""
    fakes.connectors["main"].replies = [Completion(text="28 days.", finish_reason="stop", usage=USAGE)]
    told = await client.responses.create(**BODY, temperature=0.5, max_output_tokens=99, metadata={"a": "b"}, store=True)
    assert (told.output_text, told.status, told.metadata) == ("28 days.", "completed", {"a": "b"})
    assert told.usage is not None
    assert (told.usage.input_tokens, told.usage.output_tokens, told.usage.total_tokens) == (90, 20, 110)
    assert told.usage.input_tokens_details.cached_tokens == 64
    assert told.usage.output_tokens_details.reasoning_tokens == 12
    options = fakes.connectors["main"].options[0]
    assert (options.temperature, options.max_tokens) == (0.5, 99)


async def test_stream_has_the_events_of_the_api(raw: RawClient, client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """In their order, numbered from 0; the client's own reader makes the same response of them."""
    fakes.connectors["main"].replies = ["28 days."]
    events = await raw.events(RESPONSES, **BODY)
    assert [each["type"] for each in events] == STREAMED
    assert [each["sequence_number"] for each in events] == [*range(len(STREAMED))]
    async with client.responses.stream(**BODY) as stream:
        final = await stream.get_final_response()
    assert (final.output_text, final.usage and final.usage.total_tokens) == ("28 days.", 10)


async def test_input_becomes_query_history_and_system_prompt(running: Running, raw: RawClient, fakes: Fakes) -> None:
    """Items as the API has them; what came with an earlier answer and says nothing is left out."""
    said = {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed"}
    given = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {**said, "content": [{"type": "output_text", "text": "Hi.", "annotations": []}]},
        {"role": "developer", "content": "Rhyme."},
        {"role": "user", "content": "How many?"},
    ]
    assert (await raw.post(RESPONSES, model="nexus/talk", input=given, instructions="Be brief."))[0] == 200
    prompt = fakes.connectors["main"].prompts[0]
    assert [(each.role, each.text) for each in prompt.messages[:3]] == [
        ("system", "Answer. Be brief.\n\nRhyme."), ("user", "Hello"), ("assistant", "Hi.")
    ]  # fmt: skip
    assert prompt.query == "How many?"


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        pytest.param({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter", id="id"),
        pytest.param({"background": True, "store": False}, "store", "invalid_request", id="background"),
        pytest.param({"conversation": "conv_1"}, "conversation", "unsupported_parameter", id="conversation"),
        pytest.param({"tools": [{"type": "web_search"}]}, "tools", "unsupported_parameter", id="tools"),
        pytest.param({"include": ["message.output_text.logprobs"]}, "include", "unsupported_parameter", id="include"),
        pytest.param({"max_tokens": 5}, "max_tokens", "invalid_request", id="of-chats"),
        pytest.param({"temperature": 3}, "temperature", "invalid_request", id="range"),
        pytest.param({"input": None}, "input", "invalid_request", id="missing"),
        pytest.param({"input": []}, "input", "invalid_request", id="empty"),
        pytest.param({"input": [{"content": "a"}]}, "input[0].role", "invalid_request", id="no-role"),
        pytest.param({"input": [{"type": "item_reference", "id": "a"}]}, "input[0].type", "unsupported_parameter",
                     id="reference"),
        pytest.param({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]",
                     "unsupported_parameter", id="image"),
        pytest.param({"input": [{"role": "assistant", "content": "Hi."}]}, "input", "invalid_request", id="last"),
        pytest.param({"text": {"format": {"type": "grammar"}}}, "text.format.type", "unsupported_parameter",
                     id="format"),
        pytest.param({"model": "nexus/none"}, "model", "model_not_found", id="model"),
    ],
)  # fmt: skip
async def test_what_is_not_served_is_refused(raw: RawClient, more: dict[str, Any], param: str, code: str) -> None:
    """In OpenAI's shape, with the name of the parameter."""
    status, told = await raw.post(RESPONSES, **{**BODY, **more})
    assert status in (400, 404)
    assert (told["error"]["param"], told["error"]["code"]) == (param, code)


async def test_what_asks_for_nothing_is_ignored(raw: RawClient) -> None:
    """As clients send it."""
    nothing = {
        "background": False, "previous_response_id": None, "tools": [], "tool_choice": "auto", "store": True,
        "include": ["reasoning.encrypted_content"], "parallel_tool_calls": True, "truncation": "auto",
        "reasoning": {"effort": "low", "summary": "auto"}, "text": {"format": {"type": "text"}, "verbosity": "low"},
        "user": "me", "service_tier": "auto", "prompt_cache_key": "a", "stream_options": None,
    }  # fmt: skip
    assert (await raw.post(RESPONSES, **BODY, **nothing))[0] == 200


async def test_sources_are_annotations_of_the_text(client: openai.AsyncOpenAI, running: Running, fakes: Fakes) -> None:
    """`url_citation` for the web, `file_citation` with the server's address for others; in streams at the end."""
    await running.store.add("handbook", [WEB])
    fakes.connectors["main"].replies = ["See [1] and [2]."]
    told = await client.responses.create(**BODY)
    part: Any = told.output[0].content[0]
    found = {each.type: each for each in part.annotations}
    assert set(found) == {"url_citation", "file_citation"}
    span = part.text[found["url_citation"].start_index : found["url_citation"].end_index]
    assert (span[0], found["url_citation"].url) == ("[", "https://example.org/leave")
    file = found["file_citation"]
    assert (file.file_id, file.url) == ("leave", f"{running.origin}/#contexts/handbook/items/leave")
    events = [each async for each in await client.responses.create(**BODY, stream=True)]
    added: Any = [each.annotation for each in events if each.type == "response.output_text.annotation.added"]
    assert [each.type for each in added] == [each.type for each in part.annotations]


async def test_answer_that_is_cut_is_incomplete(raw: RawClient, fakes: Fakes) -> None:
    """Whole and as the last event."""
    cut = [Chunk("Ha"), Chunk(finish_reason="length")]
    fakes.connectors["main"].replies = [Completion(text="Ha", finish_reason="length"), cut]
    _, told = await raw.post(RESPONSES, **BODY)
    last = (await raw.events(RESPONSES, **BODY))[-1]
    assert last["type"] == "response.incomplete"
    for response in (told, last["response"]):
        assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


async def test_failure_after_some_text_is_an_event_and_never_completed(
    raw: RawClient, client: openai.AsyncOpenAI, fakes: Fakes
) -> None:
    """`error`, which OpenAI's client raises, and `response.failed`."""
    fakes.connectors["main"].replies = [("Half an", TruncatedError("the answer broke off", provider="f", model="f"))]
    events = await raw.events(RESPONSES, **BODY)
    assert [each["type"] for each in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["code"] == events[-1]["response"]["error"]["code"] == "upstream_truncated"
    with pytest.raises(openai.APIError, match="broke off"):
        [each async for each in await client.responses.create(**BODY, stream=True)]


async def test_failure_before_the_first_event_has_a_status(raw: RawClient, fakes: Fakes) -> None:
    """A stream that has not begun is no stream."""
    fakes.connectors["main"].replies = [TruncatedError("the answer broke off", provider="f", model="f")]
    status, told = await raw.post(RESPONSES, **BODY, stream=True)
    assert (status, told["error"]["type"]) == (502, "server_error")


async def test_thoughts_and_calls_are_items_of_their_own(start: Start, fakes: Fakes) -> None:
    """In the order in which they come; the client's reader takes all of them."""
    running = await start(show_reasoning=True)
    parts = [ToolCallDelta(index=0, id="c1", name="f", arguments="{"), ToolCallDelta(index=0, arguments="}")]
    fakes.connectors["own"].replies = [[
        Chunk(reasoning="Let me "), Chunk(reasoning="see."), Chunk("So"),
        *(Chunk(tool_calls=(part,)) for part in parts), Chunk(finish_reason="tool_calls"),
    ]]  # fmt: skip
    async with (
        openai.AsyncOpenAI(base_url=f"{running.origin}/v1", api_key="none", max_retries=0) as client,
        client.responses.stream(model="nexus/own", input="Hello") as stream,
    ):
        output: Any = (await stream.get_final_response()).output
    assert [each.type for each in output] == ["reasoning", "message", "function_call"]
    assert (output[0].summary[0].text, output[1].content[0].text) == ("Let me see.", "So")
    assert (output[2].call_id, output[2].name, output[2].arguments) == ("c1", "f", "{}")


async def test_name_of_a_call_that_comes_in_parts_is_put_together(raw: RawClient, fakes: Fakes) -> None:
    """As in a whole answer."""
    names = [("c1", "wea"), ("", "ther"), ("", "")]
    parts = [ToolCallDelta(index=0, id=call_id, name=name, arguments=" ") for call_id, name in names]
    chunks = [Chunk(tool_calls=(part,)) for part in [*parts, ToolCallDelta(index=0, arguments="{}")]]
    fakes.connectors["main"].replies = [[*chunks, Chunk(finish_reason="tool_calls")]]
    done = (await raw.events(RESPONSES, **BODY))[-1]["response"]["output"]
    assert [(each["call_id"], each["name"]) for each in done] == [("c1", "weather")]


async def test_calls_of_a_whole_answer_are_items(raw: RawClient, fakes: Fakes) -> None:
    """Without an empty message before them."""
    call = ToolCall(id="c1", name="f", arguments="{}")
    fakes.connectors["main"].replies = [Completion(text="", finish_reason="tool_calls", tool_calls=(call,))]
    _, told = await raw.post(RESPONSES, **BODY)
    assert [(each["type"], each["call_id"]) for each in told["output"]] == [("function_call", "c1")]
