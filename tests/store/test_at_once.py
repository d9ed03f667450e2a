"""Several processes, and many tasks of one, at the same store."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from nexus_core import Item, Store
from nexus_core.store.records import Added

pytestmark = pytest.mark.slow

READER = """
import asyncio, sys
from hashlib import sha256
from nexus_core import Store, UsageError

def is_whole(item):
    total, _, body = item.text.partition(" ")
    return total == sha256(body.encode()).hexdigest() and item.tags == (body.split()[0],)

async def main():
    looks = 0
    async with Store(sys.argv[1]) as store:
        print("ready", flush=True)
        while not (found := await store.get("c", ["last"])):
            items = [item for _, item in await store.items("c", limit=50)]
            items += await store.get("c", [f"i{n}" for n in range(20)])
            items += (await store.search("c", "state common words", limit=20)).items
            assert all(map(is_whole, items)), [item for item in items if not is_whole(item)]
            looks += 1
        print(looks, len((await store.search("c", "common", limit=1000)).items))

asyncio.run(main())
"""


def item_in(name: str, state: int) -> Item:
    """Return an item whose text carries its own sum, and whose tag is in it."""
    body = f"state{state} of {name} " + "common words " * (state % 50)
    return Item(id=name, text=f"{sha256(body.encode()).hexdigest()} {body}", tags=(f"state{state}",))


async def test_two_processes_read_while_one_writes(tmp_path: Path) -> None:
    """No error, and no half or mixed item: each carries its own sum (faults 154, 160)."""
    async with Store(tmp_path) as store:
        await store.create("c", encoding="approximate")
        await store.add("c", [item_in("i0", 0)])
        readers = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", READER, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for _ in range(2)
        ]
        for reader in readers:
            assert reader.stdout is not None
            assert await reader.stdout.readline() == b"ready\n"
        for state in range(1, 13):
            await store.add("c", [item_in(f"i{n}", state) for n in range(20)])
            if state % 5 == 0:
                await store.remove("c", [f"i{n}" for n in range(10)])
        await store.add("c", [item_in("last", 99)])
        told = [await reader.communicate() for reader in readers]
        assert [reader.returncode for reader in readers] == [0, 0], told
        assert await store.check() == ()
    for said, _ in told:
        looks, _ = said.split()
        assert int(looks) >= 1


async def test_processes_write_at_once(tmp_path: Path) -> None:
    """Each takes its turn; all that they added is there and found (fault 154)."""
    code = """
import asyncio, sys
from nexus_core import Item, Store
async def main():
    async with Store(sys.argv[1]) as store:
        for n in range(8):
            await store.add("c", [Item(id=f"{sys.argv[2]}-{n}", text=f"written by {sys.argv[2]} as {n}")])
asyncio.run(main())
"""
    async with Store(tmp_path) as store:
        await store.create("c", encoding="approximate")
        writers = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, tmp_path, name, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for name in ("a", "b", "c")
        ]
        told = [await writer.communicate() for writer in writers]
        assert [writer.returncode for writer in writers] == [0, 0, 0], told
        assert len((await store.search("c", "written", limit=100)).items) == 24
        assert await store.check() == ()


async def test_many_tasks_add_search_and_remove_at_once(tmp_path: Path) -> None:
    """What each of them was told holds at the end, and the check is clean."""
    chance, expected = random.Random(3), dict[str, int]()

    async def work(store: Store, number: int) -> None:
        for state in range(3):
            names = [f"t{number}-{n}" for n in range(5)]
            await store.add("c", [item_in(name, state) for name in names])
            expected.update(dict.fromkeys(names, state))
            gone = chance.choice(names)
            assert await store.remove("c", [gone]) == 1
            del expected[gone]
            found = await store.search("c", f"of t{number}", limit=50)
            assert {item.id for item in found.items} <= {f"t{k}-{n}" for k in range(12) for n in range(5)}
            await store.tag("c", names, add=["u"], remove=["u2"])

    async with Store(tmp_path) as store:
        await store.create("c", encoding="approximate")
        await asyncio.gather(*(work(store, number) for number in range(6)))
        there = {item.id: item for _, item in await store.items("c", limit=1000)}
        assert there.keys() == expected.keys()
        assert all(there[name].text == item_in(name, state).text for name, state in expected.items())
        assert await store.check() == ()


async def test_a_caller_who_leaves_disturbs_nobody(tmp_path: Path) -> None:
    """What it had begun is whole or not there; the next are served."""
    async with Store(tmp_path) as store:
        await store.create("c", encoding="approximate")
        adding = asyncio.create_task(store.add("c", [item_in(f"i{n}", 1) for n in range(200)]))
        await asyncio.sleep(0.01)
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)
        count = len(await store.items("c", limit=1000))
        again = await store.add("c", [item_in(f"i{n}", 1) for n in range(200)])
        assert again == Added(new=200 - again.unchanged, unchanged=again.unchanged)
        assert count in {0, 200}
        assert await store.check() == ()
