"""The processes that read documents: all foreign input is read in one, and none outlives whom it reads for."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from nexus_core import Documents, SourceError, Store
from nexus_core.store.ingest.reader_processes import ReaderProcesses

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

SOURCE = """
import os, re, time
from attrs import define
from nexus_core import DocumentMark, DocumentRead, Item

@define
class Told:
    names: tuple
    problems: tuple = ()

    def documents(self):
        return [DocumentMark(name=name) for name in self.names]

    def read(self, mark, known=""):
        kind, _, told = mark.name.partition(" ")
        if told:
            with open(told + ".new", "w") as file:
                file.write(str(os.getpid()))
            os.rename(told + ".new", told)
        while kind == "work":
            sum(range(1000))
        if kind == "match":
            re.match(r"(a+)+$", "a" * 64 + "b")
        if kind == "fork":
            os.fork()
        if kind in ("wait", "fork"):
            time.sleep(1000)
        return DocumentRead(items=[Item(id=mark.name, text=str(os.getpid()))], digest="d")
"""
KILLED = """
import asyncio, sys
from nexus_core import Store
from told_source import Told

async def main():
    async with Store(sys.argv[1]) as store:
        await store.create("notes")
        await store.ingest("notes", Told((sys.argv[2],)), origin="here")

asyncio.run(main())
"""
STUCK = """
import asyncio, sys, threading
from attrs import define
from nexus_core import DocumentMark, Store

@define
class Here:
    problems: tuple = ()
    def documents(self):
        return [DocumentMark(name="a")]
    def read(self, mark, known=""):
        threading.Event().wait()

async def main():
    async with Store(sys.argv[1]) as store:
        await store.create("notes")
        print((await store.ingest("notes", Here(), origin="here", limit_s=0.5)).failed)

asyncio.run(main())
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "store") as opened:
        await opened.create("notes")
        yield opened


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Documents]:
    """A source in a module that other processes can import; documents are `kind file`, where its process is told."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "told_source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    sys.modules.pop("told_source", None)
    made: Callable[..., Documents] = importlib.import_module("told_source").Told
    return made


async def process_in(file: Path) -> int:
    """Wait until a process has told its number in a file."""
    async with asyncio.timeout(60):
        while not os.path.exists(file):  # noqa: ASYNC110, ASYNC240 - another process writes it
            await asyncio.sleep(0.01)
    return int(file.read_text())  # noqa: ASYNC240 - a few digits


async def until_gone(process: int) -> None:
    """Wait until a process is no more, or only waits to be taken note of."""
    async with asyncio.timeout(60):
        while _is_running(process):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return not (found.startswith("Z") or found == "")


async def process_of(store: Store, name: str) -> str:
    (item,) = await store.get("notes", [name])
    return item.text


async def test_one_small_document_is_read_in_another_process_that_reads_the_next_one(
    store: Store, told: Callable[..., Documents]
) -> None:
    """What parses it is foreign to the process that holds the store, however little it is."""
    for name in ("a", "b"):
        await store.ingest("notes", told((name,)), origin=name)
    processes = [await process_of(store, name) for name in ("a", "b")]
    assert processes[0] == processes[1] != str(os.getpid())


async def test_process_that_is_idle_ends(store: Store, told: Callable[..., Documents]) -> None:
    """A server that reads nothing keeps nothing for it."""
    store._readers = ReaderProcesses(idle_s=0.01)
    await store.ingest("notes", told(("a",)), origin="here")
    await until_gone(int(await process_of(store, "a")))


@pytest.mark.parametrize("kind", ["work", "match", "wait"])
async def test_process_is_killed_where_nobody_waits_any_more(
    store: Store, told: Callable[..., Documents], tmp_path: Path, kind: str
) -> None:
    """Whatever it is at; what is added next is read."""
    file = tmp_path / "process"
    adding = asyncio.create_task(store.ingest("notes", told((f"{kind} {file}",)), origin="here"))
    process = await process_in(file)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    await until_gone(process)
    assert (await store.ingest("notes", told(("a",)), origin="there")).written == 1


@pytest.mark.parametrize("kind", ["work", "match", "wait", "fork"])
async def test_process_is_killed_at_the_limit_of_one_document(
    store: Store, told: Callable[..., Documents], tmp_path: Path, kind: str
) -> None:
    """With what it has begun, and the document has failed."""
    file = tmp_path / "process"
    done = await store.ingest("notes", told((f"{kind} {file}",)), origin="here", limit_s=0.5)
    assert [why for _, why in done.failed] == ["was not read within 0.5 s"]
    await until_gone(await process_in(file))


@pytest.mark.parametrize("kind", ["work", "match"])
async def test_process_ends_with_the_one_that_it_reads_for(
    told: Callable[..., Documents], tmp_path: Path, kind: str
) -> None:
    """Killed without a word, that one leaves none behind that goes on for ever."""
    file = tmp_path / "process"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "modules")}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), f"{kind} {file}"]
    adding = await asyncio.create_subprocess_exec(*command, env=environment)
    process = await process_in(file)
    adding.send_signal(signal.SIGKILL)
    await adding.wait()
    await until_gone(process)


async def test_process_that_dies_at_its_start_three_times_is_an_error(
    store: Store, told: Callable[..., Documents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried for ever, nor read here instead; later it may go again."""
    begun = tmp_path / "begun"
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\necho once >> '{begun}'\nexit 3\n")
    broken.chmod(0o700)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(broken))
        with pytest.raises(SourceError, match="3 of them ended at their start, the last one with code 3"):
            await store.ingest("notes", told(("a",)), origin="here")
    assert begun.read_text().split() == ["once"] * 3
    assert (await store.ingest("notes", told(("a",)), origin="here")).written == 1


def test_source_that_can_be_read_here_only_has_its_limit_and_holds_up_no_exit(tmp_path: Path) -> None:
    """A thread cannot be ended, but it can be left."""
    command = [sys.executable, "-c", STUCK, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "(('a', 'was not read within 0.5 s'),)\n")
