"""Files that appear as a whole, and what is left of those who die while they write one: nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nexus_core import Item, Store
from nexus_core.toolkit.atomic_file import whole_file

DIES = """
import asyncio, os, signal, sys
from nexus_core import Store
from nexus_core.store import export_import

real = export_import._next_rows
def page(connection, folder, statement, place):
    if statement is export_import._ITEM and place[-1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(connection, folder, statement, place)
export_import._next_rows = page

async def main():
    async with Store(sys.argv[1]) as store:
        await store.export("harbour", sys.argv[2])

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed as on POSIX")
async def test_an_export_that_was_killed_leaves_nothing_when_it_is_started_again(tmp_path: Path) -> None:
    """However often that was, and the file that was there stays until the new one is whole."""
    out = tmp_path / "out"
    out.mkdir()
    target = out / "harbour.jsonl"
    target.write_text("what was there")
    async with Store(tmp_path / "store") as store:
        await store.create("harbour")
        await store.add("harbour", [Item(id=str(number), text=f"The ferry {number}.") for number in range(1000)])
        for _ in range(3):
            done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "store"), str(target)], timeout=60)  # noqa: ASYNC221
            assert done.returncode < 0
        assert target.read_text() == "what was there"
        assert len([*out.iterdir()]) == 2  # the last one's alone: each has deleted that of the one before
        assert await store.export("harbour", target) == 1000
    assert [*out.iterdir()] == [target]


def test_only_what_nobody_writes_and_is_ours_is_deleted(tmp_path: Path) -> None:
    """Not the file of another who writes the same target, nor one that only has such a name."""
    kept = {".a.jsonl-abcdefgh": b"my notes", ".a.jsonl-abc": b"{", ".b.jsonl-abcdefgh": b"{"}
    for name, data in (*kept.items(), (".a.jsonl-deadbeef", b'{"contextnexus": 1}'), (".a.jsonl-00000000", b"")):
        (tmp_path / name).write_bytes(data)
    target = tmp_path / "a.jsonl"
    with whole_file(target, begins=b'{"contextnexus":') as first:
        first.write(b"first")
        first.flush()
        with whole_file(target, begins=b'{"contextnexus":') as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first"
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "a.jsonl"}


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """As it was before."""
    with pytest.raises(KeyError), whole_file(tmp_path / "a", begins=b"{"):
        raise KeyError
    assert not [*tmp_path.iterdir()]
