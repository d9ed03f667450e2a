"""Files that are read again when they change."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from nexus_core import Pipeline
from nexus_core.contract.errors import NexusError
from nexus_core.toolkit import SharedWork, WatchedFile, mark_stamp, settled, stamp_of

OLD_NS = 10**18
SECOND_NS = 10**9
PIPELINE = """name: bees
models: {{main: {{use: extractive}}}}
steps:
  - gather: {{use: {source}}}
  - rank: bm25
  - prompt: qa
  - generate: main
"""
SOURCES = {
    "files": ("files, paths: bees.md", "bees.md", "{}"),
    "jsonl": ("jsonl, path: bees.jsonl", "bees.jsonl", '{{"text": "{}"}}'),
}


def watch(path: Path, little: int = 100) -> WatchedFile[str]:
    return WatchedFile(str(path), path.read_text, little=little)


@pytest.mark.parametrize(("source", "name", "form"), SOURCES.values(), ids=SOURCES)
async def test_a_run_answers_from_what_a_file_says_now(source: str, name: str, form: str, tmp_path: Path) -> None:
    """Written anew, replaced by another file at once, taken away, and there again."""
    (tmp_path / "p.yaml").write_text(PIPELINE.format(source=source))
    async with Pipeline.load(tmp_path / "p.yaml", environment={}) as pipeline:
        (tmp_path / name).write_text(form.format("Bees dance in circles."))
        assert "circles" in (await pipeline.run("How do bees dance?")).text
        (tmp_path / name).write_text(form.format("Bees dance in eights!!"))
        assert "eights" in (await pipeline.run("How do bees dance?")).text
        (tmp_path / "new").write_text(form.format("Bees dance in a line.."))
        os.replace(tmp_path / "new", tmp_path / name)
        assert "line" in (await pipeline.run("How do bees dance?")).text
        (tmp_path / name).unlink()
        with pytest.raises(NexusError, match=name):
            await pipeline.run("How do bees dance?")
        (tmp_path / name).write_text(form.format("Bees dance at noon."))
        assert "noon" in (await pipeline.run("How do bees dance?")).text


async def test_a_file_that_is_written_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """The stamp from before the reading counts."""
    path = tmp_path / "a"
    path.write_text("begun")

    def read() -> str:
        text = path.read_text()
        path.write_text("begun and ended")
        return text

    file = WatchedFile(str(path), read)
    assert [await file.value(), await file.value()] == ["begun", "begun and ended"]


@pytest.mark.parametrize("little", [100, 1], ids=["here", "in a thread"])
async def test_an_unchanged_file_is_read_once(little: int, tmp_path: Path) -> None:
    """The very same object comes back, as soon as the clock of the file system has gone on."""
    path = tmp_path / "a"
    path.write_text("some text")
    file = watch(path, little)
    await asyncio.to_thread(wait_for_tick, path)
    assert await file.value() is await file.value()


def wait_for_tick(path: Path) -> None:
    """Return when what is written now gets another time than the file has."""
    other = path.with_name("other")
    while not settled(stamp_of(path.stat()), stamp_of(_written(other))[1]):
        other.unlink()


def _written(path: Path) -> os.stat_result:
    path.write_text("x")
    return path.stat()


def test_only_stamps_that_cannot_repeat_are_relied_on() -> None:
    """A tick is a tenth of a second, or two seconds where the file system counts in whole ones."""
    fine, coarse = (OLD_NS + 1, OLD_NS + 1, 5), (OLD_NS, OLD_NS, 5)
    assert [settled(fine, OLD_NS + SECOND_NS), settled(coarse, OLD_NS + SECOND_NS)] == [True, False]
    assert not settled(fine, OLD_NS + 2)
    assert mark_stamp(fine, OLD_NS) == ""
    assert mark_stamp(fine, OLD_NS + SECOND_NS) == f"{OLD_NS + 1}-{OLD_NS + 1}-5"


async def test_a_missing_file_and_an_error_of_the_reader_reach_the_caller(tmp_path: Path) -> None:
    """And the next call tries again."""
    path = tmp_path / "a"
    file = WatchedFile(str(path), lambda: int(path.read_text()), little=1)
    with pytest.raises(FileNotFoundError):
        await file.value()
    path.write_text("no number")
    with pytest.raises(ValueError, match="no number"):
        await file.value()
    path.write_text("12")
    assert await file.value() == 12


async def test_shared_work_is_stopped_when_the_last_waiter_leaves() -> None:
    """Not before, and what comes next begins anew."""
    work, stopped = SharedWork[str](), asyncio.Event()

    async def endless() -> str:
        try:
            return await asyncio.Future[str]()
        finally:
            stopped.set()

    async def ask() -> str:
        if not work.running:
            work.begin(work.stoppable(endless()))
        return await work.result()

    waiters = [asyncio.ensure_future(ask()) for _ in range(2)]
    for _ in range(3):
        await asyncio.sleep(0)  # until the work has begun
    waiters[0].cancel()
    await asyncio.wait(waiters[:1])
    assert (work.running, stopped.is_set()) == (True, False)
    waiters[1].cancel()
    await stopped.wait()
    assert not work.running
