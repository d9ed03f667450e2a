"""Canonical requests of more than text: bytes are a digest and a size, and what differs is another request."""

from __future__ import annotations

import json

import pytest

from nexus_core import (
    CallOptions,
    FilePart,
    ImagePart,
    Message,
    ModelInfo,
    Prompt,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from nexus_core.engine.interceptors import ConnectorRequest
from nexus_core.recordings.canonical_request import canonical_request, digest

INFO = ModelInfo(id="m", provider="p", window=1000)


def request(*messages: Message, **options: object) -> ConnectorRequest:
    prompt = Prompt(messages=messages)
    asked = CallOptions(**options)  # type: ignore[arg-type]
    return ConnectorRequest(model="m", info=INFO, method="send_prompt", prompt=prompt, options=asked)


def test_bytes_are_a_digest_and_a_size() -> None:
    """A megabyte of image is no megabyte of recording; keys in an address are masked."""
    image = ImagePart(data=b"x" * 2**20, media_type="image/png")
    far = ImagePart(url="https://example.org/a.png?token=geheim")
    found = canonical_request(request(Message("user", (TextPart("What?\nWhere?"), image, far))))
    text, near, address = found["messages"][0]["content"]
    assert text == ["What?", "Where?"]
    assert (near["bytes"], len(near["sha256"])) == (2**20, 64)
    assert address["url"] == "https://example.org/a.png?token=***"
    assert len(json.dumps(found)) < 1000


def test_calls_and_definitions_stand_in_it() -> None:
    """With their schemas; a parameter that is called like a secret is described, not masked."""
    tool = ToolDefinition(name="login", parameters={"properties": {"password": {"type": "string"}}})
    call = ToolCall(id="c", name="login", arguments="{}")
    said = (Message("assistant", "", tool_calls=(call,)), Message("tool", "Done.", tool_call_id="c"))
    found = canonical_request(request(*said, tools=(tool,), response_schema={"type": "object"}))
    assert found["options"]["tools"][0]["parameters"] == {"properties": {"password": {"type": "string"}}}
    assert found["messages"][0]["tool_calls"] == [{"id": "c", "name": "login", "arguments": "{}"}]
    assert found["messages"][1] == {"role": "tool", "content": "Done.", "tool_call_id": "c"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (request(Message("user", (ImagePart(data=b"a"),))), request(Message("user", (ImagePart(data=b"b"),)))),
        (request(Message("user", (ImagePart(data=b"a"),))), request(Message("user", (FilePart(data=b"a"),)))),
        (request(tools=(ToolDefinition(name="a"),)), request(tools=(ToolDefinition(name="b"),))),
        (request(response_schema={"a": 1}), request(response_schema={"a": 2})),
    ],
    ids=["bytes", "kind", "tool", "schema"],
)
def test_what_differs_is_another_request(one: ConnectorRequest, other: ConnectorRequest) -> None:
    """Else a replay would answer it with what was said of something else."""
    assert digest(canonical_request(one)) != digest(canonical_request(other))


def test_text_is_recorded_as_before() -> None:
    """Recordings of texts alone stay good."""
    found = canonical_request(request(Message("user", "What?")))
    assert found["messages"] == [{"role": "user", "content": "What?"}]
