"""What Gemini is sent: roles, parts, functions and their results, schemas, thinking."""

from __future__ import annotations

from typing import Any

import pytest
from nexus_gemini.connector import Gemini

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

YES = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Yes."}]}, "finishReason": "STOP"}]}
ASK = (Message("user", "?"),)
TIDES = ToolDefinition(name="tides", description="When the tide is high.", parameters={"type": "object"})


async def sent(messages: tuple[Message, ...] = ASK, options: CallOptions | None = None, **fields: Any) -> Any:
    """Return the body of the request for messages."""
    given = {"model": "gemini-2.5-flash", **fields}
    async with ScriptedUpstream(json_answer(YES)) as upstream, Gemini(**given, base_url=upstream.origin) as gemini:
        await gemini.send_prompt(Prompt(messages=messages), options or CallOptions())
    assert upstream.requests[0].target == f"/v1beta/models/{given['model']}:generateContent"
    return upstream.requests[0].json()


def call(number: int, signature: str = "") -> ToolCall:
    """Return a call of a function."""
    return ToolCall(id=f"c{number}", name=f"f{number}", arguments=f'{{"n": {number}}}', signature=signature)


def turn(*calls: ToolCall, results: tuple[int, ...]) -> tuple[Message, ...]:
    """Return a conversation that goes on after calls, with their results in an order."""
    said = [Message("tool", f"r{number}", tool_call_id=f"c{number}") for number in results]
    return (*ASK, Message("assistant", "", calls), *said)


async def test_roles_alternate_and_empty_parts_are_left_out() -> None:
    """The system text stands apart; the assistant is called a model."""
    messages = (
        Message("system", "Be brief."), Message("user", "a"), Message("user", "b"), Message("assistant", ""),
        Message("user", "c"), Message("assistant", "d"), Message("user", "e"),
    )  # fmt: skip
    body = await sent(messages)
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}, {"text": "c"}]},
        {"role": "model", "parts": [{"text": "d"}]},
        {"role": "user", "parts": [{"text": "e"}]},
    ]


@pytest.mark.parametrize("model", ["gemma-3-27b-it", "gemma-4-31b-it"])
async def test_a_model_without_system_text_is_told_it_by_the_user(model: str) -> None:
    """Gemma 3 refuses an instruction, Gemma 4 takes one."""
    body = await sent((Message("system", "Be brief."), *ASK), model=model)
    apart = "systemInstruction" in body
    assert apart == (model == "gemma-4-31b-it")
    assert len(body["contents"][0]["parts"]) == (1 if apart else 2)


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (
            ImagePart(data=b"\x89PNG", media_type="image/png"),
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
        ),
        (
            FilePart(url="https://example.org/a.pdf", media_type="application/pdf"),
            {"fileData": {"fileUri": "https://example.org/a.pdf", "mimeType": "application/pdf"}},
        ),
        (ImagePart(url="https://example.org/a"), {"fileData": {"fileUri": "https://example.org/a"}}),
    ],
    ids=["bytes", "file-url", "no-media-type"],
)
async def test_parts_are_sent_in_their_order(part: Any, written: Any) -> None:
    """A text, then the part."""
    body = await sent((Message("user", (TextPart("Read"), part)),))
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Read"}, written]}]


async def test_results_stand_in_one_message_in_the_order_of_their_calls() -> None:
    """As many results as calls, under the names of the functions; what is no object is put into one."""
    body = await sent((*turn(call(1), call(2), results=(2, 1)), Message("user", "And?")), model="gemini-2.5-flash")
    asked, answered = body["contents"][1:]
    assert asked == {"role": "model", "parts": [
        {"functionCall": {"name": "f1", "args": {"n": 1}}}, {"functionCall": {"name": "f2", "args": {"n": 2}}},
    ]}  # fmt: skip
    assert answered == {"role": "user", "parts": [
        {"functionResponse": {"name": "f1", "response": {"result": "r1"}}},
        {"functionResponse": {"name": "f2", "response": {"result": "r2"}}},
        {"text": "And?"},
    ]}  # fmt: skip


async def test_a_result_that_is_an_object_is_sent_as_one() -> None:
    """Numbers, lists and texts are under `result`."""
    for said, expected in (('{"a": 1}', {"a": 1}), ("[1]", {"result": [1]}), ("", {"result": ""})):
        messages = (*ASK, Message("assistant", "", (call(1),)), Message("tool", said, tool_call_id="c1"))
        response = (await sent(messages))["contents"][2]["parts"][0]["functionResponse"]["response"]
        assert response == expected


@pytest.mark.parametrize(
    ("model", "signatures", "written"),
    [
        ("gemini-3.8-flash", ("c2ln", ""), ("c2ln", None)),
        ("gemini-3.8-flash", ("", ""), ("skip_thought_signature_validator", None)),
        ("gemini-3.8-flash", ('{"blocks":[]}', ""), ("skip_thought_signature_validator", None)),
        ("gemini-2.5-flash", ("c2ln", ""), ("c2ln", None)),
        ("gemini-2.5-flash", ("", ""), (None, None)),
    ],
    ids=["own", "lost", "foreign", "older", "older-none"],
)
async def test_signatures_go_back_with_their_calls(model: str, signatures: Any, written: Any) -> None:
    """Gemini 3 demands one at the first call of a turn; for one that was lost stands the word that Google names."""
    calls = [call(number + 1, signature) for number, signature in enumerate(signatures)]
    parts = (await sent(turn(*calls, results=(1, 2)), model=model))["contents"][1]["parts"]
    assert tuple(part.get("thoughtSignature") for part in parts) == written
    assert [part["functionCall"].get("id") for part in parts] == (["c1", "c2"] if "3.8" in model else [None, None])


@pytest.mark.parametrize(
    ("choice", "written"),
    [(None, None), ("auto", {"mode": "AUTO"}), ("required", {"mode": "ANY"}), ("none", {"mode": "NONE"}),
     ("tides", {"mode": "ANY", "allowedFunctionNames": ["tides"]})],
)  # fmt: skip
async def test_functions_are_described(choice: str | None, written: Any) -> None:
    """With the schema as it is, or none."""
    body = await sent(options=CallOptions(tools=(TIDES, ToolDefinition(name="now")), tool_choice=choice))
    assert body["tools"][0]["functionDeclarations"] == [
        {"name": "tides", "description": "When the tide is high.", "parametersJsonSchema": {"type": "object"}},
        {"name": "now", "description": ""},
    ]
    assert body.get("toolConfig", {}).get("functionCallingConfig") == written


async def test_schema_is_sent_in_the_keywords_that_the_service_takes() -> None:
    """A constant is an enum of one."""
    schema = {"type": "object", "properties": {"a": {"const": "x"}, "b": {"type": "string", "pattern": "^a"}}}
    config = (await sent(options=CallOptions(response_schema=schema)))["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["properties"] == {"a": {"enum": ["x"]}, "b": {"type": "string"}}


@pytest.mark.parametrize(
    ("model", "effort", "written"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192}),
        ("gemini-2.5-flash", "max", None),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-3-flash", "none", {"thinkingLevel": "minimal"}),
        ("gemini-3.8-flash", "none", {"thinkingLevel": "low"}),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "low"}),
        ("gemini-3.8-flash", "xhigh", {"thinkingLevel": "high"}),
        ("gemini-2.0-flash", "high", None),
    ],
)
async def test_effort_is_a_budget_or_a_level(model: str, effort: str, written: Any) -> None:
    """The least that the model takes, where it cannot do without thinking."""
    config = (await sent(options=CallOptions(reasoning_effort=effort), model=model)).get("generationConfig", {})
    assert config.get("thinkingConfig") == written


async def test_options_are_sent_under_the_names_of_the_service() -> None:
    """Those that are set alone; summaries of thoughts where they are asked for."""
    options = CallOptions(temperature=0.5, top_p=0.9, max_tokens=9, stop=("x",), presence_penalty=1.0)
    assert (await sent(options=options, thoughts=True))["generationConfig"] == {
        "temperature": 0.5, "topP": 0.9, "maxOutputTokens": 9, "stopSequences": ["x"], "presencePenalty": 1.0,
        "thinkingConfig": {"includeThoughts": True},
    }  # fmt: skip


async def test_extra_is_added_and_may_not_take_what_is_ours() -> None:
    """What stands in extra goes into the body."""
    assert (await sent(options=CallOptions(extra={"cachedContent": "c/1"})))["cachedContent"] == "c/1"
    with pytest.raises(InvalidRequestError, match="contents"):
        await sent(options=CallOptions(extra={"contents": []}))


@pytest.mark.parametrize(
    ("model", "known", "thinking"),
    [("gemini-3.1-pro-preview", True, "level"), ("models/gemini-2.5-flash-lite", True, "budget"), ("x", False, "none")],
)
def test_models_are_found_by_their_snapshots(model: str, known: bool, thinking: str) -> None:
    """The longest prefix counts; an unknown model has declared defaults."""
    row = Gemini(model=model).row
    assert (row.known, row.own["thinking"]) == (known, thinking)
