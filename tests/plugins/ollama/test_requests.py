"""What the connector sends: the window, options, parts, tools, thinking and schemas."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core import CallOptions, ImagePart, InvalidRequestError, Message, Prompt, TextPart, ToolDefinition
from nexus_core.contract.values import FilePart, ToolCall

IMAGE = ImagePart(data=b"\x89PNG", media_type="image/png")
TOOL = ToolDefinition(name="tide", description="Tells the tide.", parameters={"type": "object"})


async def test_a_request_has_roles_and_the_window_that_was_packed_for(service: Any, good: Any) -> None:
    """So the service cuts nothing, and says so where it would have to."""
    await service.send(good)
    assert service.sent == {
        "model": "llama3.2",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Is the harbour open?"},
        ],
        "stream": False,
        "truncate": False,
        "shift": False,
        "options": {"num_ctx": 4096},
    }
    assert service.upstream.requests[0].target == "/api/chat"


@pytest.mark.parametrize(
    ("model", "window"),
    [("llama3.2", 8192), ("llama2:7b", 4096), ("gpt-oss:120b-cloud", 131072), ("someone/thing", 8192)],
)
async def test_a_prompt_without_a_window_gets_that_of_the_model(
    service: Any, good: Any, model: str, window: int
) -> None:
    """That of the table, on one's own machine as much as is loaded by default."""
    await service.send(good, model=model, prompt=Prompt(messages=(Message("user", "?"),)))
    assert service.sent["options"]["num_ctx"] == window


async def test_options_go_where_the_service_has_them(service: Any, good: Any) -> None:
    """Those of the model in `options`, fields of the request beside it."""
    extra = {"seed": 7, "top_k": 5, "logprobs": True}
    options = CallOptions(temperature=0.5, max_tokens=9, stop=("END",), top_p=0.9, presence_penalty=1, extra=extra)
    await service.send(good, options, keep_alive="10m")
    own = {"temperature": 0.5, "num_predict": 9, "stop": ["END"], "top_p": 0.9, "presence_penalty": 1, "num_ctx": 4096}
    assert service.sent["options"] == own | {"seed": 7, "top_k": 5}
    assert (service.sent["keep_alive"], service.sent["logprobs"]) == ("10m", True)


@pytest.mark.parametrize("name", ["num_ctx", "model", "messages", "stream"])
async def test_what_the_connector_sets_cannot_be_set_beside_it(service: Any, good: Any, name: str) -> None:
    """The window stands on the model, where the packer sees it."""
    error = await service.fails(good, CallOptions(extra={name: 5}))
    assert isinstance(error, InvalidRequestError)
    assert not error.request_sent
    assert name in str(error)


@pytest.mark.parametrize(("said", "sent"), [("0", 0), ("-1", -1), ("30m", "30m")])
async def test_keep_alive_without_a_unit_is_a_number(service: Any, good: Any, said: str, sent: Any) -> None:
    """The service takes no text without a unit."""
    await service.send(good, keep_alive=said)
    assert service.sent["keep_alive"] == sent


@pytest.mark.parametrize(
    ("model", "think", "effort", "sent"),
    [
        ("qwen3:8b", None, None, None),
        ("qwen3:8b", True, None, True),
        ("qwen3:8b", True, "none", False),
        ("qwen3:8b", None, "high", True),
        ("gpt-oss:20b", None, "xhigh", "high"),
        ("gpt-oss:20b", None, "none", "low"),
        ("llama3.2", True, "high", None),
        ("someone/thing", False, None, False),
    ],
)
async def test_thinking_is_said_as_the_model_takes_it(
    service: Any, good: Any, model: str, think: Any, effort: Any, sent: Any
) -> None:
    """Levels for gpt-oss, yes or no for others, nothing to models that refuse to be asked."""
    await service.send(good, CallOptions(reasoning_effort=effort), model=model, think=think)
    assert service.sent.get("think") == sent


async def test_a_schema_is_the_format(service: Any, good: Any) -> None:
    """As it is."""
    schema = {"type": "object", "properties": {"open": {"type": "boolean"}}}
    await service.send(good, CallOptions(response_schema=schema))
    assert service.sent["format"] == schema


async def test_tools_calls_and_results_are_sent(service: Any, good: Any) -> None:
    """Arguments as an object, and a result with the name of its tool."""
    call = ToolCall(id="call_1", name="tide", arguments='{"at": "noon"}')
    messages = (Message("user", "?"), Message("assistant", "", (call,)), Message("tool", "low", tool_call_id="call_1"))
    await service.send(good, CallOptions(tools=(TOOL,)), prompt=Prompt(messages=messages))
    function = {"name": "tide", "description": "Tells the tide.", "parameters": {"type": "object"}}
    assert service.sent["tools"] == [{"type": "function", "function": function}]
    asked = {"id": "call_1", "function": {"name": "tide", "arguments": {"at": "noon"}}}
    assert service.sent["messages"][1:] == [
        {"role": "assistant", "content": "", "tool_calls": [asked]},
        {"role": "tool", "content": "low", "tool_name": "tide", "tool_call_id": "call_1"},
    ]


async def test_no_tools_are_sent_where_none_may_be_called(service: Any, good: Any) -> None:
    """The service has no `tool_choice`."""
    await service.send(good, CallOptions(tools=(TOOL,), tool_choice="none"))
    assert "tools" not in service.sent


@pytest.mark.parametrize(
    ("parts", "messages"),
    [
        ((IMAGE, TextPart("What"), TextPart("is it?")), [{"content": "What\nis it?", "images": ["iVBORw=="]}]),
        (
            (TextPart("Is"), IMAGE, IMAGE, TextPart("it?")),
            [{"content": "Is", "images": []}, {"content": "it?", "images": ["iVBORw==", "iVBORw=="]}],
        ),
        (
            (TextPart("What is it?"), IMAGE),
            [{"content": "What is it?", "images": []}, {"content": "", "images": ["iVBORw=="]}],
        ),
    ],
    ids=["image-first", "between", "image-last"],
)
async def test_images_are_sent_in_their_order(service: Any, good: Any, parts: Any, messages: Any) -> None:
    """In base64; the service puts those of a message before its text, and joins messages of one role."""
    await service.send(good, prompt=Prompt(messages=(Message("user", parts),)))
    assert service.sent["messages"] == [{"role": "user", **message} for message in messages]


@pytest.mark.parametrize(
    "part", [ImagePart(url="https://example.com/a.png"), FilePart(data=b"%PDF", media_type="application/pdf")]
)
async def test_parts_that_the_service_does_not_take_are_refused_here(service: Any, good: Any, part: Any) -> None:
    """With what to do, and before anything is sent."""
    error = await service.fails(good, prompt=Prompt(messages=(Message("user", (part,)),)))
    assert isinstance(error, InvalidRequestError)
    assert not error.request_sent
    assert "give its" in str(error)
