"""Which files of a pipeline another process reads, and what ends that process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
from nexus_jsonl.source import JsonlSource
from nexus_sources.files import Files
from nexus_sources.read_apart import load_apart
from nexus_sources.walking.walk import FoundFile
from nexus_sources.watched_files import LITTLE

from nexus_core import RunContext, SourceError
from nexus_core.toolkit import ReadSettings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes")

BIG = "Words that fill it.\n" * (LITTLE // 19)
RECORDS = '{"text": "Bees dance."}\n' * 25_000


def source(folder: Path, name: str, text: str) -> Files | JsonlSource:
    """Return a source of one file with this text."""
    (folder / name).write_text(text, "utf-8")
    found = JsonlSource(path=name) if name.endswith(".jsonl") else Files(paths=name)
    found.base_dir = str(folder)
    return found


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.html", "<p>Bees"), ("a.pdf", "%PDF-1.4"), ("a.md", BIG), ("a.txt", BIG), ("a.py", BIG), ("a.jsonl", RECORDS)],
    ids=lambda value: value if len(value) < 8 else "",
)
async def test_foreign_formats_and_much_of_any_are_not_parsed_in_the_process_of_a_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    """Where no other process can be started nothing is read."""
    read = source(tmp_path, name, text)
    monkeypatch.setattr(sys, "executable", os.devnull)
    with pytest.raises(SourceError, match="no process that reads documents can be started"):
        await read.gather("", RunContext())


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.py", "a.jsonl"])
async def test_a_small_corpus_of_text_needs_no_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A run over a few notes does not pay for the start of one."""
    read = source(tmp_path, name, '{"text": "Bees dance."}')
    monkeypatch.setattr(sys, "executable", os.devnull)
    (item,) = await read.gather("", RunContext())
    assert "Bees dance." in item.text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.html", "a.jsonl"])
async def test_run_that_leaves_ends_the_reader_and_the_next_one_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As with uploads: nobody waits for what nobody wants."""
    read, begun, stuck = source(tmp_path, name, RECORDS), tmp_path / "begun", tmp_path / "stuck"
    stuck.write_text(f"#!/bin/sh\necho $$ >> '{begun}'\nexec sleep 1000\n")
    stuck.chmod(0o700)
    begun.touch()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(stuck))
        gathering = [asyncio.create_task(read.gather("", RunContext())) for _ in range(2)]
        async with asyncio.timeout(60):
            while not (process := begun.read_text().strip()):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)
        gathering[0].cancel()
        await asyncio.wait(gathering[:1])
        assert is_running(process)  # the other one waits still
        gathering[1].cancel()
        async with asyncio.timeout(60):
            while is_running(process):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
    assert await read.gather("", RunContext())


def is_running(process: str) -> bool:
    told = subprocess.run(["ps", "-o", "stat=", "-p", process], capture_output=True, text=True).stdout.strip()
    return told not in ("", "Z", "Z+")


@pytest.mark.slow
async def test_file_that_takes_too_long_is_left_out_and_the_others_are_read(tmp_path: Path) -> None:
    """Here one that never gives anything: a pipe nobody writes to."""
    os.mkfifo(tmp_path / "endless.md")
    (tmp_path / "b.md").write_text("Bees dance.")
    requests = [(FoundFile(str(tmp_path / name), name, (0, 0, 1)), b"") for name in ("endless.md", "b.md")]
    async with aclosing(load_apart(requests, ReadSettings(), 2.0)) as results:
        stuck, read = [loaded async for loaded in results]
    assert stuck is not None
    assert stuck.problem == "cannot be read (did not end within 2 s); left out"
    assert read is not None
    assert [item.text for item in read.items] == ["Bees dance."]


@pytest.mark.slow
async def test_items_read_apart_stay_the_same_objects_while_the_bytes_do(tmp_path: Path) -> None:
    """A file that was touched a moment ago is looked at again, and no index is built twice."""
    read = source(tmp_path, "a.html", "<h1>Bees</h1><p>They dance.")
    first = await read.gather("", RunContext())
    assert await read.gather("", RunContext()) is first
    (tmp_path / "a.html").write_text("<h1>Bees</h1><p>They sting.")
    assert [item.text for item in await read.gather("", RunContext())] == ["They sting."]
