"""Killed in the middle of writing: what was acknowledged is there, once, and nothing else is damaged."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROUNDS = 10
TURNS = "SELECT id, number, run_id FROM turns JOIN conversations ON conversations.key = conversation_key"
WRITER = """
import asyncio, sys
from nexus_core import Store

async def talk(kept, name, begun):
    for n in range(1_000_000):
        run = f"{begun}-{name}-{n}"
        number = await kept.add(name, query=f"Q {run}", answer="A " * 400 + run, model="main", run_id=run)
        print(name, number, run, flush=True)

async def main():
    async with Store(sys.argv[1]) as store:
        await asyncio.gather(*(talk(store.conversations, name, sys.argv[2]) for name in ("a", "b", "c")))

asyncio.run(main())
"""


def killed_writer(folder: Path, begun: int, after: int) -> list[tuple[str, int, str]]:
    """Write conversations in a process of its own, kill it after so many turns, and return what it acknowledged."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, folder, str(begun)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after)]
    process.kill()
    lines += process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    acknowledged = [line.split() for line in lines if line.endswith("\n")]  # the last one may be torn
    return [(name, int(number), run) for name, number, run in acknowledged]


def test_every_acknowledged_turn_is_there_once_after_a_kill(tmp_path: Path) -> None:
    """Ten kills at random moments: all turns that were told are kept, numbers have no gap (fault 157)."""
    chance = random.Random(157)
    told: dict[tuple[str, int], str] = {}
    for begun in range(ROUNDS):
        for name, number, run in killed_writer(tmp_path, begun, chance.randrange(1, 30)):
            assert told.setdefault((name, number), run) == run
        connection = sqlite3.connect(tmp_path / "store.db")
        found: dict[str, dict[int, str]] = defaultdict(dict)
        for name, number, run in connection.execute(TURNS):
            found[name][number] = run
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        counts = dict(connection.execute("SELECT id, turns FROM conversations"))
        connection.close()
        assert {key: found[key[0]].get(key[1]) for key in told} == told
        for name, turns in found.items():
            assert sorted(turns) == list(range(1, counts[name] + 1))
            assert len(set(turns.values())) == len(turns)
    assert len(told) >= ROUNDS
