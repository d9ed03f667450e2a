"""Clients of MCP: the SDK's own, in both eras of the protocol, with a key or without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from nexus_core.testing.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from tests.server.conftest import Running

ERAS = {"handshake": "legacy", "envelope": "2026-07-28"}
"""The two eras of the protocol, by what opens a connection, and what the SDK calls them."""
ASKS = """name: asks
models: {{main: {{use: openai, model: m, base_url: "{url}", api_key: sk-test, window: 8192, retry: {{attempts: 1}}}}}}
steps:
  - generate: main
"""
"""A pipeline of a service, to be filled in with its address."""
Connect = Callable[..., AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def connected(origin: str, mode: str, **headers: str) -> AsyncIterator[Client]:
    """Connect the SDK's client to a server, with headers such as that of a key."""
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{origin}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def arrived(upstream: ScriptedUpstream, count: int) -> None:
    """Wait until so many requests are there."""
    async with asyncio.timeout(30):
        while len(upstream.requests) < count:  # noqa: ASYNC110 - the upstream counts and has no event
            await asyncio.sleep(0.01)


@pytest.fixture(params=ERAS)
def mode(request: pytest.FixtureRequest) -> str:
    """One of the two eras."""
    return ERAS[request.param]


@pytest.fixture
def connect(running: Running, mode: str) -> Connect:
    """Connect a client to the running server, in each of the two eras."""
    return partial(connected, running.origin, mode)
