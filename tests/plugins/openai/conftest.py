"""What the tests of the connector share: a connector at a scripted upstream, and a prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nexus_openai.connector import OpenAI

from nexus_core import Chunk, Completion, ConnectorError, Message, Prompt, Secret
from nexus_core.contract.values import CallOptions
from nexus_core.testing.upstream import Script, ScriptedUpstream

KEY = "canary-9d1f4c77ab20e6"
PROMPT = Prompt(messages=(Message("system", "Be brief."), Message("user", "Is the harbour open on Sundays?")))


class Service:
    """Asks a connector once, at an upstream that plays a script, and keeps what the upstream saw."""

    def __init__(self) -> None:
        self.upstream = ScriptedUpstream()

    async def send(self, script: Script, options: CallOptions | None = None, **fields: Any) -> Completion:
        """Return the whole answer."""
        async with ScriptedUpstream(script) as self.upstream, connector(self.upstream, **fields) as openai:
            return await openai.send_prompt(PROMPT, options or CallOptions())

    async def stream(self, script: Script, options: CallOptions | None = None, **fields: Any) -> list[Chunk]:
        """Return all chunks but the first, which tells of the transfer."""
        async with ScriptedUpstream(script) as self.upstream, connector(self.upstream, **fields) as openai:
            chunks = [chunk async for chunk in openai.stream_response(PROMPT, options or CallOptions())]
        assert chunks[0] == Chunk(transfer=chunks[0].transfer)
        return chunks[1:]

    async def streamed(self, script: Script, **fields: Any) -> tuple[str, Chunk | ConnectorError]:
        """Return the text of a stream, and its last chunk or its error."""
        text, last = "", Chunk()
        async with ScriptedUpstream(script) as self.upstream, connector(self.upstream, **fields) as openai:
            try:
                async for last in openai.stream_response(PROMPT, CallOptions()):
                    text += last.text
            except ConnectorError as error:
                return text, error
        return text, last

    async def fails(self, script: Script, **fields: Any) -> ConnectorError:
        """Return the error that a whole answer ends in."""
        with pytest.raises(ConnectorError) as caught:
            await self.send(script, **fields)
        return caught.value

    @property
    def sent(self) -> Any:
        """The body of the one request that was made."""
        assert len(self.upstream.requests) == 1
        return self.upstream.requests[0].json()


def connector(upstream: ScriptedUpstream, **fields: Any) -> OpenAI:
    """Return a connector for an upstream."""
    given = {"model": "test-model", "api_key": Secret(KEY), "base_url": upstream.url, **fields}
    return OpenAI(**given)


@pytest.fixture(name="service")
def _service() -> Service:
    return Service()


@pytest.fixture(name="connect")
def _connect() -> Callable[..., OpenAI]:
    return connector


@pytest.fixture(name="prompt")
def _prompt() -> Prompt:
    return PROMPT


@pytest.fixture(name="key")
def _key() -> str:
    return KEY


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
