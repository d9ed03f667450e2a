"""Two `nexus serve` over one store in Postgres: restarted one after the other, and silent about the password."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexus_core.testing.upstream import ScriptedUpstream, Silence, chat_events, stream_answer
from tests.server.test_runs_killed import BODY, PIPELINE, events_at

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

PASSWORD = "pa55word-of-the-store"
BEGINNING = stream_answer([*chat_events("Yes and no")[:2], Silence()], ends=False)


@asynccontextmanager
async def serve(folder: Path, url: str, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, bytes]]:
    """Run `nexus serve` over a store; yields the process, its address, and what it has said until it listened."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nexus_core.cli.main", "serve", "slow.yaml", "--port", "0", *options, cwd=folder,
        env={**os.environ, "NEXUS_STORE": url, "PGPASSWORD": PASSWORD}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said = b""
    try:
        async for line in process.stderr:
            said += line
            if b"listening on" in line:
                yield process, line.decode().split()[-1], said
                break
    finally:
        for _ in range(2):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        said += (await process.communicate())[1]
        assert PASSWORD.encode() not in said


def arguments_of(process: int) -> str:
    """Return the arguments of a process and of its children, as this system tells them."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "args", "--pid", str(process), "--ppid", str(process)], capture_output=True
    )
    return found.stdout.decode()


async def test_a_stream_of_a_server_that_is_restarted_is_read_on_at_the_other(tmp_path: Path, postgres: str) -> None:
    """What was kept comes again, then the end that says why; nobody has to wait, and nothing is lost in silence."""
    async with ScriptedUpstream(BEGINNING) as upstream:
        (tmp_path / "slow.yaml").write_text(PIPELINE.format(url=upstream.url))
        async with (
            serve(tmp_path, postgres, "--name", "one", "--drain", "0s") as (process, origin, _),
            serve(tmp_path, postgres, "--name", "other") as (_, other, _),
            aiohttp.ClientSession() as session,
        ):
            async with session.post(origin + "/api/queries", json=BODY) as response:
                run = (await response.content.readuntil(b"-1\n"))[4:-3].decode()
                await response.content.readuntil(b"Yes")
                process.send_signal(signal.SIGTERM)
                await response.read()
            found = await events_at(f"{other}/api/runs/{run}/events")
            assert [each["type"] for each in found] == ["start", "chunk", "error"]
            assert found[-1]["code"] == "server_shutting_down"


async def test_a_password_is_nowhere(tmp_path: Path, postgres: str) -> None:
    """In no figure, no argument of a process, and no word of a server that has lost its database."""
    (tmp_path / "slow.yaml").write_text(PIPELINE.format(url="http://127.0.0.1:1/v1"))
    with_password = postgres.replace("postgres:@", f"postgres:{PASSWORD}@")
    async with (
        serve(tmp_path, with_password, "--name", "one") as (process, origin, _),
        aiohttp.ClientSession() as session,
    ):
        async with session.get(origin + "/metrics") as response:
            told: list[Any] = [await response.text()]
        for path in ("/api/contexts", "/readyz", "/api/pipelines/reload"):
            async with session.request("POST" if "reload" in path else "GET", origin + path) as response:
                told.append(await response.text())
        assert 'nexus_server_info{server="one"} 1.0' in told[0]
        assert not any(PASSWORD in each for each in told)
        assert PASSWORD not in arguments_of(process.pid)
