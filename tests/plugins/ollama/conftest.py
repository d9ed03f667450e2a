"""What the tests of the connector share: a connector at a scripted upstream, and lines as Ollama writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from nexus_ollama.connector import Ollama

from nexus_core import CallOptions, Chunk, Completion, ConnectorError, Message, Prompt
from nexus_core.testing.upstream import Script, ScriptedUpstream, http_answer, stream_answer

PROMPT = Prompt(messages=(Message("system", "Be brief."), Message("user", "Is the harbour open?")), window=4096)


def line(*, done: bool = False, **message: Any) -> bytes:
    """Return a line of a stream; `done` is the last one, with the counts."""
    payload: dict[str, Any] = {"model": "llama3.2", "message": {"role": "assistant", "content": "", **message}}
    payload["done"] = done
    if done:
        payload |= {"done_reason": "stop", "prompt_eval_count": 26, "eval_count": 9}
    return json.dumps(payload).encode() + b"\n"


class Service:
    """Asks a connector once, at an upstream that plays a script, and keeps what the upstream saw."""

    def __init__(self) -> None:
        self.upstream = ScriptedUpstream()

    async def send(self, answer: Any, options: CallOptions | None = None, **fields: Any) -> Completion:
        """Return the whole answer; `answer` is a script, or the body as a JSON value."""
        script: Script = answer if isinstance(answer, list) else http_answer(json.dumps(answer).encode())
        prompt = fields.pop("prompt", PROMPT)
        async with ScriptedUpstream(script) as self.upstream, connector(self.upstream, **fields) as ollama:
            return await ollama.send_prompt(prompt, options or CallOptions())

    async def stream(self, pieces: Sequence[bytes], **fields: Any) -> list[Chunk]:
        """Return all chunks but the first, which tells of the transfer."""
        script = stream_answer(pieces, content_type="application/x-ndjson")
        async with ScriptedUpstream(script) as self.upstream, connector(self.upstream, **fields) as ollama:
            return [chunk async for chunk in ollama.stream_response(PROMPT, CallOptions())][1:]

    async def fails(self, answer: Any, options: CallOptions | None = None, **fields: Any) -> ConnectorError:
        """Return the error that a whole answer ends in."""
        with pytest.raises(ConnectorError) as caught:
            await self.send(answer, options, **fields)
        return caught.value

    @property
    def sent(self) -> Any:
        """The body of the one request that was made."""
        assert len(self.upstream.requests) == 1
        return self.upstream.requests[0].json()


def connector(upstream: ScriptedUpstream, **fields: Any) -> Ollama:
    """Return a connector for an upstream."""
    return Ollama(**{"model": "llama3.2", "base_url": upstream.url, **fields})


GOOD = json.loads(line(done=True, content="Yes."))
"""A whole answer."""


@pytest.fixture(name="service")
def _service() -> Service:
    return Service()


@pytest.fixture(name="connect")
def _connect() -> Any:
    return connector


@pytest.fixture(name="line")
def _line() -> Any:
    return line


@pytest.fixture(name="good")
def _good() -> Any:
    return GOOD


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OLLAMA_API_KEY", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
