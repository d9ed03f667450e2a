"""A chat with a server: OpenAI's own client, and raw requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from tests.server.conftest import Running


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, for the running server."""
    async with openai.AsyncOpenAI(base_url=f"{running.origin}/v1", api_key="none", max_retries=0) as found:
        yield found


class RawClient:
    """Sends requests as they are."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Return status and JSON."""
        return await self._running.call("POST", path, json=body)

    async def events(self, path: str, **body: Any) -> list[Any]:
        """Return what the events of a stream hold; a text for what is no JSON."""
        async with self._running.session.post(self._running.origin + path, json={"stream": True, **body}) as response:
            assert response.status == 200, await response.text()
            lines = (await response.text()).splitlines()
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(each) if each.startswith("{") else each for each in data]


@pytest.fixture
def raw(running: Running) -> RawClient:
    """Raw requests to the running server."""
    return RawClient(running)
