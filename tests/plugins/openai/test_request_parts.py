"""Requests with more than text: parts, tools and their results, schemas, an effort."""

from __future__ import annotations

from typing import Any

import pytest
from nexus_openai.connector import OpenAI

from nexus_core import (
    CallOptions,
    FilePart,
    ImagePart,
    InvalidRequestError,
    Message,
    Prompt,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer

YES = json_answer(completion("Yes."))
TIDES = ToolDefinition(name="tides", description="When the tide is high.", parameters={"type": "object"})
NOW = ToolDefinition(name="now")
DAY = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"], "additionalProperties": False}


async def sent(messages: tuple[Message, ...], options: CallOptions | None = None, **fields: Any) -> Any:
    """Return the body of the request for messages."""
    async with ScriptedUpstream(YES) as upstream, OpenAI(**{"model": "m", **fields}, base_url=upstream.url) as openai:
        await openai.send_prompt(Prompt(messages=messages), options or CallOptions())
    return upstream.requests[0].json()


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (
            ImagePart(data=b"\x89PNG", media_type="image/png"),
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        ),
        (
            ImagePart(url="https://example.org/a.png", detail="low"),
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
        ),
        (
            FilePart(data=b"%PDF", media_type="application/pdf", filename="a.pdf"),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        ),
        (
            FilePart(data=b"%PDF", media_type="application/pdf"),
            {"type": "file", "file": {"filename": "file.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        ),
    ],
    ids=["image-bytes", "image-url", "file", "file-without-name"],
)
async def test_parts_are_sent_in_their_order(part: ImagePart | FilePart, written: Any) -> None:
    """Bytes as a data URL, an address as it is, texts between them."""
    body = await sent((Message("user", (TextPart("Read"), part, TextPart("aloud"))),))
    texts = [{"type": "text", "text": text} for text in ("Read", "aloud")]
    assert body["messages"] == [{"role": "user", "content": [texts[0], written, texts[1]]}]


async def test_texts_alone_are_one_text() -> None:
    """Services that know no parts understand them, too."""
    body = await sent((Message("user", (TextPart("a"), TextPart("b"))),))
    assert body["messages"] == [{"role": "user", "content": "a\nb"}]


@pytest.mark.parametrize(
    ("part", "fields", "match"),
    [
        (ImagePart(data=b"x"), {}, "media_type"),
        (FilePart(url="https://example.org/a.pdf"), {}, "bytes"),
        (ImagePart(url="https://example.org/a.png"), {"model": "davinci-002"}, "texts only"),
    ],
    ids=["no-media-type", "file-by-url", "legacy"],
)
async def test_parts_that_cannot_be_sent_are_refused(part: Any, fields: dict[str, Any], match: str) -> None:
    """The error says what to do, and nothing is sent."""
    with pytest.raises(InvalidRequestError, match=match) as caught:
        await sent((Message("user", (part,)),), **fields)
    assert caught.value.request_sent is False


async def test_tool_calls_and_their_results_are_sent() -> None:
    """A conversation in which a tool was called goes on."""
    call = ToolCall(id="call_1", name="tides", arguments='{"day": "Sunday"}')
    messages = (
        Message("user", "When is high tide?"),
        Message("assistant", "", (call,)),
        Message("tool", "At six.", tool_call_id="call_1"),
    )
    function = {"name": "tides", "arguments": '{"day": "Sunday"}'}
    assert (await sent(messages))["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "At six.", "tool_call_id": "call_1"},
    ]


async def test_legacy_models_read_tool_calls_as_text() -> None:
    """What was called and what came of it stands in the one text that they get."""
    call = ToolCall(id="call_1", name="tides", arguments="{}")
    messages = (Message("user", "When?"), Message("assistant", "", (call,)), Message("tool", "At six."))
    body = await sent(messages, CallOptions(tools=(TIDES,), response_schema=DAY), model="davinci-002")
    assert body == {
        "model": "davinci-002",
        "prompt": "User: When?\n\nAssistant: tides({})\n\nTool: At six.\n\nAssistant:",
    }


@pytest.mark.parametrize(
    ("choice", "written"),
    [(None, None), ("required", "required"), ("now", {"type": "function", "function": {"name": "now"}})],
    ids=["none", "word", "name"],
)
async def test_tools_are_described(choice: str | None, written: Any) -> None:
    """Each with a schema, also where it takes nothing; a name is the one that must be called."""
    body = await sent((Message("user", "?"),), CallOptions(tools=(TIDES, NOW), tool_choice=choice))
    assert [tool["function"] for tool in body["tools"]] == [
        {"name": "tides", "description": "When the tide is high.", "parameters": {"type": "object"}},
        {"name": "now", "parameters": {"type": "object", "properties": {}}},
    ]
    assert body.get("tool_choice") == written


async def test_no_tools_are_no_tools() -> None:
    """An empty list, and a choice among nothing, are refused by services: neither is sent."""
    assert await sent((Message("user", "?"),), CallOptions(tools=(), tool_choice="auto")) == {
        "model": "m", "messages": [{"role": "user", "content": "?"}]
    }  # fmt: skip


async def test_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    """A misspelt name is told before anything is sent."""
    with pytest.raises(InvalidRequestError, match="tool_choice") as caught:
        await sent((Message("user", "?"),), CallOptions(tools=(NOW,), tool_choice="nwo"))
    assert caught.value.request_sent is False


async def test_schema_and_effort_are_sent() -> None:
    """The schema as `response_format`, strict where the service can hold to it."""
    body = await sent((Message("user", "?"),), CallOptions(response_schema=DAY, reasoning_effort="low"))
    schema = {"name": "answer", "schema": DAY, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert body["reasoning_effort"] == "low"
