"""What the tests of the connector share: messages of the service's event streams, and an environment without AWS."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from struct import pack
from typing import Any
from zlib import crc32

import pytest


def message(payload: Any, **headers: str) -> bytes:
    """Return a message of an AWS event stream; in names of headers `_` is written for `-`."""
    told = b"".join(
        pack(">B", len(name) + 1) + b":" + name.replace("_", "-").encode() + pack(">BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    body = json.dumps(payload).encode()
    prelude = pack(">II", 16 + len(told) + len(body), len(told))
    begun = prelude + pack(">I", crc32(prelude)) + told + body
    return begun + pack(">I", crc32(begun))


def event(kind: str, **fields: Any) -> bytes:
    """Return an event."""
    return message(fields, message_type="event", event_type=kind, content_type="application/json")


@pytest.fixture(name="message")
def _message() -> Callable[..., bytes]:
    return message


@pytest.fixture(name="stream")
def _stream() -> list[bytes]:
    return [
        event("messageStart", role="assistant"),
        event("contentBlockDelta", contentBlockIndex=0, delta={"reasoningContent": {"text": "Tides turn."}}),
        event("contentBlockDelta", contentBlockIndex=0, delta={"reasoningContent": {"signature": "c2ln"}}),
        event("contentBlockStop", contentBlockIndex=0),
        event("contentBlockStart", contentBlockIndex=1, start={}),
        event("contentBlockDelta", contentBlockIndex=1, delta={"text": "At "}),
        event("contentBlockDelta", contentBlockIndex=1, delta={"text": "six 🙂"}),
        event("contentBlockNote", note="A kind of event that nobody knows yet."),
        event("contentBlockStart", contentBlockIndex=2, start={"toolUse": {"toolUseId": "t1", "name": "tides"}}),
        event("contentBlockDelta", contentBlockIndex=2, delta={"toolUse": {"input": '{"day"'}}),
        event("contentBlockDelta", contentBlockIndex=2, delta={"toolUse": {"input": ": 1}"}}),
        event("contentBlockStop", contentBlockIndex=2),
        event("messageStop", stopReason="tool_use"),
        event("metadata", metrics={"latencyMs": 1}, usage={
            "inputTokens": 5, "outputTokens": 9, "totalTokens": 34, "cacheReadInputTokens": 20}),
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tuple(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
