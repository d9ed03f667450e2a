"""What Bedrock is sent: roles, parts, tools and their results, schemas, thinking."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nexus_bedrock.connector import Bedrock

from nexus_core import (
    CallOptions,
    FilePart,
    ImagePart,
    InvalidRequestError,
    Message,
    Prompt,
    Secret,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from nexus_core.testing.upstream import ScriptedUpstream, json_answer

YES = {"output": {"message": {"role": "assistant", "content": [{"text": "Yes."}]}}, "stopReason": "end_turn"}
ASK = (Message("user", "?"),)
TIDES = ToolDefinition(name="tides", description="When the tide is high.", parameters={"type": "object"})
CALLED = (
    *ASK, Message("assistant", " ", (ToolCall(id="t1", name="tides", arguments='{"day": 1}'),
                                     ToolCall(id="t2", name="tides", arguments=""))),
    Message("tool", "six", tool_call_id="t1"), Message("tool", "", tool_call_id="t2"),
)  # fmt: skip
PDF = FilePart(data=b"%PDF", media_type="application/pdf", filename="a.pdf")


async def sent(messages: tuple[Message, ...] = ASK, options: CallOptions | None = None, **fields: Any) -> Any:
    """Return the body of the request for messages."""
    given = {"model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "api_key": Secret("k" * 9), **fields}
    async with ScriptedUpstream(json_answer(YES)) as upstream, Bedrock(**given, base_url=upstream.origin) as bedrock:
        await bedrock.send_prompt(Prompt(messages=messages), options or CallOptions())
    return upstream.requests[0].json()


async def test_roles_alternate_and_blank_texts_are_left_out() -> None:
    """The system text stands apart."""
    messages = (
        Message("system", "Be brief."), Message("system", ""), Message("user", "a"), Message("user", "b"),
        Message("assistant", ""), Message("user", "c"),
    )  # fmt: skip
    assert await sent(messages, prompt_cache=True) == {
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}],
    }


async def test_parts_are_sent_and_documents_have_names_of_their_own() -> None:
    """Across all messages; the names that files have are not told."""
    image = ImagePart(data=b"\x89PNG", media_type="image/png")
    messages = (Message("user", (TextPart("Read"), image, PDF)), Message("assistant", "a"), Message("user", (PDF,)))
    body = await sent(messages)
    source = {"bytes": "JVBERg=="}
    assert body["messages"][0]["content"] == [
        {"text": "Read"}, {"image": {"format": "png", "source": {"bytes": "iVBORw=="}}},
        {"document": {"format": "pdf", "name": "document-1", "source": source}},
    ]  # fmt: skip
    assert body["messages"][2]["content"][0]["document"]["name"] == "document-2"


async def test_an_address_is_refused_before_anything_is_sent() -> None:
    """The service takes bytes alone."""
    with pytest.raises(InvalidRequestError, match="bytes") as caught:
        await sent((Message("user", (ImagePart(url="https://example.org/a.png"),)),))
    assert caught.value.request_sent is False


async def test_results_of_tools_stand_in_one_message_before_its_text() -> None:
    """As Converse demands; a call's arguments are an object."""
    body = await sent((*CALLED, Message("user", "And?")), CallOptions(tools=(TIDES,)))
    assert body["messages"][1:] == [
        {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "t1", "name": "tides", "input": {"day": 1}}},
            {"toolUse": {"toolUseId": "t2", "name": "tides", "input": {}}}]},
        {"role": "user", "content": [
            {"toolResult": {"toolUseId": "t1", "content": [{"text": "six"}]}},
            {"toolResult": {"toolUseId": "t2", "content": []}}, {"text": "And?"}]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "written"),
    [(None, None), ("auto", {"auto": {}}), ("required", {"any": {}}), ("tides", {"tool": {"name": "tides"}})],
)
async def test_tools_are_described(choice: str | None, written: Any) -> None:
    """Each with the schema of an object."""
    config = await sent(options=CallOptions(tools=(TIDES, ToolDefinition(name="now")), tool_choice=choice))
    tools = [tool["toolSpec"] for tool in config["toolConfig"]["tools"]]
    assert [tool["inputSchema"]["json"] for tool in tools] == [
        {"type": "object"}, {"type": "object", "properties": {}}
    ]  # fmt: skip
    assert ["description" in tool for tool in tools] == [True, False]
    assert config["toolConfig"].get("toolChoice") == written


async def test_no_tool_may_be_called_where_none_is_described() -> None:
    """Converse has no such choice; where calls stand in the conversation it wants the tools all the same."""
    none = CallOptions(tools=(TIDES,), tool_choice="none")
    assert "toolConfig" not in await sent(options=none)
    assert (await sent(CALLED, none))["toolConfig"]["toolChoice"] == {"auto": {}}


async def test_schema_is_sent_as_text_where_the_model_holds_to_one() -> None:
    """In the keywords that the service takes; other models are not given it."""
    options = CallOptions(response_schema={"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}})
    structure = (await sent(options=options))["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(structure["schema"]) == {
        "type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False
    }  # fmt: skip
    assert "outputConfig" not in await sent(options=options, model="amazon.nova-lite-v1:0")


ADAPTIVE = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}


@pytest.mark.parametrize(
    ("model", "options", "fields", "config"),
    [
        ("anthropic.claude-opus-4-6-v1", {"reasoning_effort": "high", "temperature": 0.5, "max_tokens": 9}, ADAPTIVE,
         {"maxTokens": 9}),
        ("anthropic.claude-opus-4-6-v1", {"reasoning_effort": "none"}, None, None),
        ("anthropic.claude-opus-4-6-v1", {"reasoning_effort": "high", "tools": (TIDES,), "tool_choice": "required"},
         {"output_config": {"effort": "high"}}, None),
        ("openai.gpt-oss-20b-1:0", {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}, None),
        ("amazon.nova-2-lite-v1:0", {"reasoning_effort": "high"},
         {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, None),
        ("amazon.nova-2-lite-v1:0", {"reasoning_effort": "high", "max_tokens": 9},
         {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}, {"maxTokens": 9}),
        ("meta.llama3-3-70b-instruct-v1:0", {"reasoning_effort": "high"}, None, None),
    ],
    ids=["claude", "none", "forced-tool", "gpt", "nova", "nova-options", "llama"],
)  # fmt: skip
async def test_effort_is_said_as_the_maker_says_it(model: str, options: Any, fields: Any, config: Any) -> None:
    """What goes not with it is left out."""
    body = await sent(options=CallOptions(**options), model=model)
    assert body.get("additionalModelRequestFields") == fields
    assert body.get("inferenceConfig") == config


async def test_options_are_sent_under_the_names_of_the_service() -> None:
    """Those that are set, and that the service knows."""
    options = CallOptions(temperature=0.5, top_p=0.9, max_tokens=9, stop=("x",), presence_penalty=1.0)
    expected = {"temperature": 0.5, "topP": 0.9, "maxTokens": 9, "stopSequences": ["x"]}
    assert (await sent(options=options, model="amazon.nova-lite-v1:0"))["inferenceConfig"] == expected
    del expected["topP"]  # Claude refuses it beside a temperature
    assert (await sent(options=options))["inferenceConfig"] == expected


async def test_extra_is_added_and_may_not_take_what_is_ours() -> None:
    """What stands in extra goes into the body."""
    extra = {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}
    assert (await sent(options=CallOptions(extra=extra)))["guardrailConfig"] == extra["guardrailConfig"]
    with pytest.raises(InvalidRequestError, match="messages"):
        await sent(options=CallOptions(extra={"messages": []}))


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-4-6-v1", 1_000_000),
        ("global.amazon.nova-2-lite-v1:0", 1_000_000),
        ("nobody.knows", 32_768),
    ],
)
def test_models_are_found_behind_profiles_and_arns(model: str, window: int) -> None:
    """What stands before the id does not count; Claude's images are counted by Anthropic's formula."""
    info = Bedrock(model=model).model_info
    assert info.window == window
    images = info.image_tokens
    assert (images.formula if images else None) == {"anthropic": "area", "amazon": "fixed"}.get(
        next((maker for maker in ("anthropic", "amazon") if maker in model), "")
    )
