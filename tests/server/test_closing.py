"""Connections that come while a server closes."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.server.conftest import Running


@pytest.mark.parametrize("passes", range(5))
async def test_no_connection_is_lost_open_by_a_server_that_closes(running: Running, passes: int) -> None:
    """Whatever the moment, it is handed on, or its client sees that it is closed: nobody waits for nothing."""
    listening = running.server._listening
    assert listening is not None
    with socket.create_connection(("127.0.0.1", running.server.port)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        for _ in range(passes):
            await asyncio.sleep(0)
        await listening.close()
        client.setblocking(False)
        async with asyncio.timeout(10):
            try:
                await asyncio.get_running_loop().sock_recv(client, 1)
            except ConnectionError:
                return
