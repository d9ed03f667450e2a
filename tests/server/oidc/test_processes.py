"""Servers as they are started: several workers, a restart, and another server of the same store."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there are no several workers")]

PIPELINE = """name: own
models: {main: {use: extractive}}
steps:
  - gather: {use: inline, items: [{id: leave, text: Everybody has 28 days of leave.}]}
  - prompt: chat
  - generate: main
"""
ROUNDS = 8
"""New connections, among which both workers are with near certainty."""


def spawned(folder: Path, issuer: Any, port: int, workers: int) -> subprocess.Popen[str]:
    """Start `nexus serve` in a folder; the client's secret is in its environment."""
    command = [
        sys.executable, "-m", "nexus_core.cli.main", "serve", "own.yaml", f"--port={port}", f"--workers={workers}",
        f"--oidc-issuer={issuer.url}", "--oidc-client-id=nexus", "--oidc-admin-group=it",
    ]  # fmt: skip
    environment = {
        **os.environ, "NEXUS_STORE": str(folder / "store"), "NEXUS_OIDC_CLIENT_SECRET": issuer.settings().client_secret,
    }  # fmt: skip
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE)


@asynccontextmanager
async def served(folder: Path, issuer: Any, workers: int) -> AsyncIterator[str]:
    """Run `nexus serve`, and give its address once it listens."""
    (folder / "own.yaml").write_text(PIPELINE)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = spawned(folder, issuer, port, workers)
    try:
        assert process.stderr is not None
        for _ in range(workers):
            while "listening on" not in (line := await asyncio.to_thread(process.stderr.readline)):
                assert line, "it did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await asyncio.to_thread(process.communicate, timeout=60)


async def statuses(origin: str, **headers: str) -> set[int]:
    """Return the statuses of an address that needs somebody, over connections of their own."""
    found = set()
    async with aiohttp.ClientSession() as session:
        for _ in range(ROUNDS):
            async with session.get(f"{origin}/api/identity", headers={**headers, "Connection": "close"}) as answer:
                found.add(answer.status)
    return found


async def sign_in(origin: str) -> str:
    """Return the cookie of a session, as a header has it."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(f"{origin}/auth/login", headers={"Connection": "close"}) as answer:
            assert answer.status == 200, await answer.text()
        return "; ".join(f"{each.key}={each.value}" for each in session.cookie_jar)


async def test_sessions_and_keys_are_those_of_the_store(tmp_path: Path, issuer: Any) -> None:
    """All workers know a change at once; sessions outlive a restart, and hold at other servers of the store."""
    issuer.person = "bob"
    async with served(tmp_path, issuer, 2) as origin, aiohttp.ClientSession() as session:
        cookie, other = await sign_in(origin), await sign_in(origin)
        assert await statuses(origin, Cookie=cookie) == {200}
        assert await statuses(origin, Authorization=f"Bearer {issuer.token('ann')}") == {200}
        headers = {"Cookie": cookie, "Origin": origin}
        async with session.post(f"{origin}/api/keys", json={"owner": "ann"}, headers=headers) as answer:
            made = await answer.json()
        key = {"Authorization": f"Bearer {made['text']}"}
        assert await statuses(origin, **key) == {200}
        async with session.delete(f"{origin}/api/keys/{made['key']['id']}", headers=headers) as answer:
            assert answer.status == 204
        assert await statuses(origin, **key) == {401}
        async with session.delete(f"{origin}/auth/session", headers={"Cookie": other, "Origin": origin}) as answer:
            assert answer.status == 204
        assert await statuses(origin, Cookie=other) == {401}
        async with served(tmp_path, issuer, 1) as beside:
            assert await statuses(beside, Cookie=cookie) == {200}
    async with served(tmp_path, issuer, 1) as again:
        assert await statuses(again, Cookie=cookie) == {200}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--oidc-issuer", "http://id.example.com", "--oidc-client-id", "x"], "must begin with https://"),
        (["--oidc-issuer", "https://id.example.com"], "give --oidc-client-id"),
        (["--oidc-client-id", "x"], "give --oidc-issuer"),
        (["--oidc-issuer", "https://id.example.com", "--oidc-client-secret-file", "nowhere"], "cannot be read"),
        (["--public-url", "nexus.example.com"], "no address of a page"),
    ],
    ids=["clear", "no-client", "no-issuer", "no-secret", "no-address"],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, options: list[str], said: str) -> None:
    """At once, with what to do."""
    (tmp_path / "own.yaml").write_text(PIPELINE)
    command = [sys.executable, "-m", "nexus_core.cli.main", "serve", "own.yaml", "--port=0", *options]
    environment = {**os.environ, "NEXUS_STORE": str(tmp_path / "store")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, said in " ".join(done.stderr.split())) == (2, True), done.stderr
