"""Clients of MCP: the SDK's own, in both eras of the protocol, with a key or without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

if TYPE_CHECKING:
    from tests.server.conftest import Running

ERAS = {"handshake": "legacy", "envelope": "2026-07-28"}
"""The two eras of the protocol, by what opens a connection, and what the SDK calls them."""
Connect = Callable[..., AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def connected(origin: str, mode: str, **headers: str) -> AsyncIterator[Client]:
    """Connect the SDK's client to a server, with headers such as that of a key."""
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{origin}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.fixture(params=ERAS)
def mode(request: pytest.FixtureRequest) -> str:
    """One of the two eras."""
    return ERAS[request.param]


@pytest.fixture
def connect(running: Running, mode: str) -> Connect:
    """Connect a client to the running server, in each of the two eras."""
    return partial(connected, running.origin, mode)
