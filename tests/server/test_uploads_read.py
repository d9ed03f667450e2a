"""Files of clients are read in another process, for so long at most, and only while their client waits."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core.server.settings import ServerLimits

if TYPE_CHECKING:
    from tests.server.conftest import Running, Start

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="processes")]

DOCUMENTS = "/api/contexts/handbook/documents"
Begun = Callable[[int], Any]


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begun:
    """Let every process that reads stand still; returns what waits for so many, and gives their numbers."""
    told, python = tmp_path / "processes", tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ >> '{told}'\nexec sleep 1000\n")
    python.chmod(0o700)
    told.touch()
    monkeypatch.setattr(sys, "executable", str(python))

    async def begun(count: int) -> list[int]:
        async with asyncio.timeout(60):
            while len(found := told.read_text().split()) < count:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)
        return [int(each) for each in found]

    return begun


def is_running(process: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return found not in ("", "Z", "Z+")


async def until_gone(processes: list[int]) -> None:
    async with asyncio.timeout(60):
        while any(map(is_running, processes)):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def serve(start: Start, limits: ServerLimits | None = None) -> Running:
    """Start a server with an empty context."""
    running = await start(limits=limits)
    await running.store.create("handbook")
    return running


def send(running: Running, name: str) -> asyncio.Task[tuple[int, Any]]:
    return asyncio.create_task(running.call("POST", DOCUMENTS, params={"name": name}, data=b"# Any\n\nWords.\n"))


async def test_files_that_take_too_long_have_failed_and_their_reader_is_killed(start: Start, stuck: Begun) -> None:
    """The limit is that of the request."""
    running = await serve(start, ServerLimits(read_s=0.5))
    status, told = await send(running, "a.md")
    assert (status, told["code"]) == (422, "unreadable_document")
    assert "a.md: was not read within the 0.5 s that the files of one request may take" in told["error"]
    await until_gone(await stuck(1))


async def test_client_that_leaves_ends_the_reader_and_gives_its_turn_back(start: Start, stuck: Begun) -> None:
    """So nobody who comes and goes keeps others from sending files."""
    running = await serve(start)
    for number in range(1, 4):  # one more than there are turns
        sent = send(running, f"{number}.md")
        processes = await stuck(number)
        sent.cancel()
        await asyncio.gather(sent, return_exceptions=True)
        await until_gone(processes)


async def test_files_wait_for_those_of_others_for_so_long_at_most(start: Start, stuck: Begun) -> None:
    """Then the client is told when to try again."""
    running = await serve(start, ServerLimits(read_wait_s=0.2))
    sent = [send(running, name) for name in ("a.md", "b.md")]
    await stuck(2)
    async with running.session.post(running.origin + DOCUMENTS, params={"name": "c.md"}, data=b"Words.") as answer:
        assert (answer.status, (await answer.json())["code"]) == (503, "overloaded")
        assert int(answer.headers["Retry-After"]) > 0
    for each in sent:
        each.cancel()


def ask(running: Running, name: str) -> asyncio.Task[tuple[int, Any]]:
    documents = [{"name": name, "data": b64encode(b"Words.").decode()}]
    body = {"query": "Any words?", "pipeline": "quotes", "documents": documents, "options": {"stream": True}}
    return asyncio.create_task(running.call("POST", "/api/queries", json=body))


async def test_documents_of_a_question_take_turns_with_uploads(start: Start, stuck: Begun) -> None:
    """And a client that leaves ends what reads for it."""
    running = await serve(start, ServerLimits(read_wait_s=0.2))
    sent = [send(running, "a.md"), ask(running, "b.md")]
    processes = await stuck(2)
    status, told = await ask(running, "c.md")
    assert (status, told["code"]) == (503, "overloaded")
    for each in sent:
        each.cancel()
    await asyncio.gather(*sent, return_exceptions=True)
    await until_gone(processes)


async def test_documents_of_a_question_that_take_too_long_refuse_it(start: Start, stuck: Begun) -> None:
    """With the name and the limit; their reader is killed."""
    running = await serve(start, ServerLimits(read_s=0.5))
    status, told = await ask(running, "b.md")
    assert (status, told["code"]) == (422, "unreadable_document")
    assert "'b.md' cannot be read: was not read within the 0.5 s that the files of" in told["error"]
    await until_gone(await stuck(1))


async def test_uploaded_text_is_not_parsed_by_the_server(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other process can be started nothing is read, however short it is."""
    monkeypatch.setattr(sys, "executable", os.devnull)
    status, told = await send(running, "a.md")
    assert (status, "read" in told) == (500, False)
