"""What Claude is sent: roles, parts, tools, schemas, thinking, and what is left out of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nexus_anthropic.connector import Anthropic

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
from nexus_core.testing.upstream import ScriptedUpstream, json_answer

YES = {
    "type": "message", "role": "assistant", "model": "c", "content": [{"type": "text", "text": "Yes."}],
    "stop_reason": "end_turn", "usage": {"input_tokens": 7, "output_tokens": 3},
}  # fmt: skip
ASK = (Message("user", "?"),)
TIDES = ToolDefinition(name="tides", description="When the tide is high.", parameters={"type": "object"})
THOUGHTS = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "redacted_thinking", "data": "eA=="}]
SIGNED = ToolCall(id="t1", name="tides", arguments='{"day": 1}', signature=json.dumps({"blocks": THOUGHTS}))
BARE = ToolCall(id="t1", name="tides", arguments='{"day": 1}')


async def sent(messages: tuple[Message, ...] = ASK, options: CallOptions | None = None, **fields: Any) -> Any:
    """Return the body of the request for messages."""
    given = {"model": "claude-sonnet-4-5", **fields}
    async with ScriptedUpstream(json_answer(YES)) as upstream, Anthropic(**given, base_url=upstream.origin) as claude:
        await claude.send_prompt(Prompt(messages=messages), options or CallOptions())
    assert upstream.requests[0].target == "/v1/messages"
    return upstream.requests[0].json()


def turn(*calls: ToolCall, results: int = 1) -> tuple[Message, ...]:
    """Return a conversation that goes on after calls of tools."""
    answers = [Message("tool", "At six.", tool_call_id=f"t{number + 1}") for number in range(results)]
    return (Message("user", "When?"), Message("assistant", "Let me see.", calls), *answers)


async def test_system_stands_apart_and_roles_alternate() -> None:
    """Neighbours of one role are joined, blank texts and messages without any are left out."""
    messages = (
        Message("system", "Be brief."), Message("system", " "), Message("user", "a"), Message("user", "b"),
        Message("assistant", "  "), Message("user", "c"),
    )  # fmt: skip
    body = await sent(messages)
    assert body["system"] == "Be brief."
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": text} for text in "abc"]}]


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (
            ImagePart(data=b"\x89PNG", media_type="image/png"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
        ),
        (
            ImagePart(url="https://example.org/a.png"),
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        ),
        (
            FilePart(data=b"%PDF", media_type="application/pdf"),
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}},
        ),
    ],
    ids=["image", "image-url", "file"],
)
async def test_parts_are_sent_in_their_order(part: ImagePart | FilePart, written: Any) -> None:
    """A text, then the part."""
    body = await sent((Message("user", (TextPart("Read"), part)),))
    assert body["messages"][0]["content"] == [{"type": "text", "text": "Read"}, written]


async def test_results_of_tools_stand_in_one_message_before_its_text() -> None:
    """The service demands both; a call's arguments are an object."""
    second = ToolCall(id="t2", name="tides", arguments="")
    body = await sent((*turn(BARE, second, results=2), Message("user", "And?")), CallOptions(tools=(TIDES,)))
    assistant, user = body["messages"][1:]
    assert [block.get("input") for block in assistant["content"]] == [None, {"day": 1}, {}]
    assert [block["type"] for block in user["content"]] == ["tool_result", "tool_result", "text"]
    assert [block.get("tool_use_id") for block in user["content"]] == ["t1", "t2", None]


async def test_arguments_that_are_no_object_are_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequestError, match="arguments") as caught:
        await sent(turn(ToolCall(id="t1", name="tides", arguments="[1]")))
    assert caught.value.request_sent is False


@pytest.mark.parametrize(
    ("choice", "written"),
    [(None, None), ("auto", {"type": "auto"}), ("required", {"type": "any"}), ("none", {"type": "none"}),
     ("tides", {"type": "tool", "name": "tides"})],
)  # fmt: skip
async def test_tools_are_described(choice: str | None, written: Any) -> None:
    """Each with the schema of an object."""
    body = await sent(options=CallOptions(tools=(TIDES, ToolDefinition(name="now")), tool_choice=choice))
    assert body["tools"] == [
        {"name": "tides", "description": "When the tide is high.", "input_schema": {"type": "object"}},
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert body.get("tool_choice") == written


async def test_schema_is_sent_in_the_keywords_that_the_service_takes() -> None:
    """Objects are closed; bounds and unknown formats are left to the engine."""
    schema = {
        "type": "object", "required": ["n"],
        "properties": {
            "n": {"type": "integer", "minimum": 1}, "s": {"type": "string", "format": "iri", "minLength": 2},
            "l": {"type": "array", "minItems": 3, "items": {"oneOf": [{"type": "null"}, {"type": "object"}]}},
        },
    }  # fmt: skip
    config = (await sent(options=CallOptions(response_schema=schema)))["output_config"]
    closed = {"type": "object", "additionalProperties": False}
    assert config == {"format": {"type": "json_schema", "schema": {
        **closed, "required": ["n"],
        "properties": {
            "n": {"type": "integer"}, "s": {"type": "string"},
            "l": {"type": "array", "items": {"anyOf": [{"type": "null"}, closed]}},
        },
    }}}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "options", "thinking", "config"),
    [
        ("claude-sonnet-4-5", {"max_tokens": 4096}, None, None),
        ("claude-sonnet-4-5", {"max_tokens": 16384, "reasoning_effort": "low"}, 2048, None),
        ("claude-sonnet-4-5", {"max_tokens": 3000, "reasoning_effort": "high"}, 1500, None),
        ("claude-sonnet-4-5", {"max_tokens": 80000, "reasoning_effort": "max"}, 32768, None),
        ("claude-sonnet-4-5", {"max_tokens": 2000, "reasoning_effort": "high"}, None, None),
        ("claude-sonnet-4-5", {"max_tokens": 9000, "reasoning_effort": "none"}, None, None),
        ("claude-opus-4-5", {"max_tokens": 9000, "reasoning_effort": "minimal"}, 1024, {"effort": "low"}),
        ("claude-opus-4-6", {"reasoning_effort": "high"}, "adaptive", {"effort": "high"}),
        ("claude-3-haiku", {"max_tokens": 4000, "reasoning_effort": "high"}, None, None),
    ],
)
async def test_effort_is_a_budget_or_a_word(model: str, options: Any, thinking: Any, config: Any) -> None:
    """Half of max_tokens stays for the answer, and the least budget is the service's."""
    body = await sent(options=CallOptions(**options), model=model)
    said = body.get("thinking") or {}
    assert said.get("budget_tokens", said.get("type")) == thinking
    assert body.get("output_config") == config


async def test_options_that_go_not_with_thinking_are_left_out() -> None:
    """Temperature and top_p; without thinking they are sent."""
    options = CallOptions(temperature=0.5, top_p=0.9, max_tokens=9000, stop=("x",), reasoning_effort="low")
    assert {"temperature", "top_p"}.isdisjoint(await sent(options=options))
    body = await sent(options=CallOptions(temperature=0.5, max_tokens=9000, stop=("x",)))
    assert (body["temperature"], body["max_tokens"], body["stop_sequences"]) == (0.5, 9000, ["x"])


@pytest.mark.parametrize(("model", "both"), [("claude-sonnet-4-5", False), ("claude-3-haiku", True)])
async def test_models_that_refuse_two_samplers_are_sent_one(model: str, both: bool) -> None:
    """The temperature stands over top_p; alone each is sent."""
    body = await sent(options=CallOptions(temperature=0.5, top_p=0.9), model=model)
    assert (body["temperature"], "top_p" in body) == (0.5, both)
    assert (await sent(options=CallOptions(top_p=0.9), model=model))["top_p"] == 0.9


@pytest.mark.parametrize(
    ("messages", "options"),
    [
        (turn(BARE), CallOptions(tools=(TIDES,))),
        (ASK, CallOptions(tools=(TIDES,), tool_choice="required")),
        ((*ASK, Message("assistant", "It is ")), CallOptions()),
    ],
    ids=["thoughts-lost", "forced-tool", "answer-begun"],
)
async def test_thinking_is_left_out_where_the_service_refuses_it(messages: Any, options: CallOptions) -> None:
    """The request is answered without thoughts in place of an error."""
    asked = CallOptions(tools=options.tools, tool_choice=options.tool_choice, max_tokens=9000, reasoning_effort="high")
    body = await sent(messages, asked)
    assert "thinking" not in body
    assert messages is not ASK or body["tool_choice"] == {"type": "any"}


async def test_thoughts_go_back_with_their_call_while_the_model_thinks() -> None:
    """At the front of the message, as they came; not where thinking is off."""
    tools = CallOptions(tools=(TIDES,), max_tokens=9000)
    on = await sent(turn(SIGNED), tools, thinking=True)
    assert on["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert on["messages"][1]["content"][:2] == THOUGHTS
    off = await sent(turn(SIGNED), tools)
    assert [block["type"] for block in off["messages"][1]["content"]] == ["text", "tool_use"]


async def test_a_signature_of_another_service_is_not_sent() -> None:
    """A conversation may begin at one service and go on at another."""
    foreign = ToolCall(id="t1", name="tides", arguments="{}", signature="CiQB4/H/XsKr")
    body = await sent(turn(foreign), CallOptions(tools=(TIDES,)), model="claude-opus-4-6", thinking=True)
    assert body["thinking"]["type"] == "adaptive"
    assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use"]


async def test_an_answer_that_has_begun_ends_without_white_space() -> None:
    """The service refuses white space there."""
    body = await sent((*ASK, Message("assistant", "It is \n")))
    assert body["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": "It is"}]}


async def test_extra_is_added_and_may_not_take_what_is_ours() -> None:
    """What stands in extra goes into the body."""
    assert (await sent(options=CallOptions(extra={"top_k": 5})))["top_k"] == 5
    with pytest.raises(InvalidRequestError, match="system"):
        await sent(options=CallOptions(extra={"system": "x"}))


async def test_beginning_of_the_prompt_is_kept_where_that_is_asked() -> None:
    """The system text is marked for the service's cache."""
    body = await sent((Message("system", "Long."), *ASK), prompt_cache="1h")
    assert body["system"] == [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]


@pytest.mark.parametrize(
    ("model", "window", "known"),
    [
        ("claude-sonnet-4-5-20250929", 200_000, True),
        ("claude-opus-4-6", 1_000_000, True),
        ("anthropic/claude-opus-4-20250514", 200_000, True),
        ("claude-next", 200_000, False),
    ],
)
def test_models_are_found_by_their_snapshots(model: str, window: int, known: bool) -> None:
    """The longest prefix counts; an unknown model has declared defaults."""
    claude = Anthropic(model=model)
    assert (claude.model_info.window, claude.row.known) == (window, known)
    assert claude.model_info.requires == {"max_tokens"}
