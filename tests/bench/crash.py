"""Kills a process that writes to a store, again and again, and looks for what it had acknowledged.

    python tests/bench/crash.py [--rounds 200] [--seed 157] [--vectors]

Each round starts a process that adds, changes, tags and removes items and keeps turns of conversations, kills it at a
random moment (SIGKILL), and then looks: what was acknowledged is there once, nothing is half, index and rows agree.
With `--vectors` the context is embedded, and graphs are made all the time: after the next pass each item has the
vectors of its text, and none that is gone is found.
Exits with 1 where not.

Left out: documents and originals, several writers at once, the server, and the loss of power: that takes a disk that
forgets.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from nexus_core import Item, Store
from nexus_core.store.vectors import graph_upkeep
from nexus_core.toolkit import KEPT_NUMBERS, embedder_named, item_parts, item_vectors_key

WITH_VECTORS = bool(os.environ.get("NEXUS_CRASH_VECTORS"))
"""Whether the context is embedded, by the static table: for the processes that are killed, too."""
GRAPH_FROM = 60
"""Vectors from which on there is a graph here."""
BATCH = 5
"""Items of one addition: all of them are there, or none."""


def text_of(name: str, state: int) -> str:
    """Return a text that carries its own sum."""
    body = f"{name} in state {state} " + "with words enough to fill a page " * (state % 40)
    return f"{sha256(body.encode()).hexdigest()} {body}"


def is_whole(text: str) -> bool:
    """Tell whether a text is one of these, and not half of one."""
    total, _, body = text.partition(" ")
    return sha256(body.encode()).hexdigest() == total


async def write(path: str, begun: int, seed: int) -> None:
    """Write until killed, and say after each step what was acknowledged."""
    chance = random.Random(seed)

    def say(*words: object) -> None:
        print(*words, flush=True)

    async def items(store: Store) -> None:
        for step in range(1_000_000):
            names = [f"r{begun}s{step}n{number}" for number in range(BATCH)]
            await store.add("c", [Item(id=name, text=text_of(name, step)) for name in names])
            say("added", step, *names)
            match chance.randrange(4):
                case 0:
                    say("removing", names[0])
                    await store.remove("c", [names[0]])
                    say("removed", names[0])
                case 1:
                    await store.tag("c", [names[1]], add=[f"t{step}"])
                    say("tagged", names[1], f"t{step}")
                case 2:
                    await store.add("c", [Item(id=names[2], text=text_of(names[2], step + 1))])
                    say("added", step + 1, names[2])

    async def talk(store: Store) -> None:
        for step in range(1_000_000):
            run = f"{begun}-{step}"
            number = await store.conversations.add("talk", query="q", answer=f"answer {run}", model="m", run_id=run)
            say("turn", number, run)

    async with Store(path) as store:
        if not await store.contexts():
            await store.create("c", encoding="approximate")
        if WITH_VECTORS:
            vars(graph_upkeep)["EXACT"] = GRAPH_FROM
            await store.embed("c", "static")
            say("embedded")
        say("ready")
        await asyncio.gather(items(store), talk(store))


def killed(path: Path, begun: int, seed: int, after_s: float) -> list[list[str]]:
    """Let a process write for so long after it is ready, kill it, and return what it said."""
    command = [sys.executable, __file__, "--write", str(path), str(begun), str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready = process.stdout.readline()
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
    said = ready + process.stdout.read()
    process.stdout.close()
    if process.wait() != -9:
        raise SystemExit(f"the writer of round {begun} ended by itself")
    return [line.split() for line in said.splitlines(keepends=True) if line.endswith("\n")]  # the last may be torn


class Expected:
    """What must be there, by what was acknowledged."""

    def __init__(self) -> None:
        self.states: dict[str, int] = {}
        self.tags: dict[str, str] = {}
        self.maybe_gone: set[str] = set()
        self.gone: set[str] = set()
        self.turns: dict[int, str] = {}

    def take(self, said: list[list[str]]) -> None:
        """Take in what a process has acknowledged."""
        for words in said:
            match words:
                case ["added", state, *names]:
                    self.states.update(dict.fromkeys(names, int(state)))
                case ["removing", name]:
                    self.maybe_gone.add(name)
                case ["removed", name]:
                    self.gone.add(name)
                case ["tagged", name, tag]:
                    self.tags[name] = tag
                case ["turn", number, run]:
                    self.turns[int(number)] = run

    def problems(self, items: list[Item], turns: dict[int, str]) -> list[str]:
        """Return what is not as it was acknowledged."""
        found = [f"{name} is there {times} times" for name, times in Counter(i.id for i in items).items() if times > 1]
        there = {item.id: item for item in items}
        found += [f"{item.id} is half" for item in items if not is_whole(item.text)]
        found += [f"{name} was removed" for name in self.gone & there.keys()]
        found += [f"{name} is gone" for name in self.states.keys() - self.maybe_gone - there.keys()]
        for name, state in self.states.items():
            # A change that was not acknowledged may have been made.
            if name in there and there[name].text not in {text_of(name, state), text_of(name, state + 1)}:
                found.append(f"{name} is not in state {state}")
        found += [f"{name} has lost {tag}" for name, tag in self.tags.items() if tag not in there[name].tags]
        found += [f"turn {number} is not {run}" for number, run in self.turns.items() if turns.get(number) != run]
        batches = Counter(name.rpartition("n")[0] for name in there.keys() | self.maybe_gone)
        return found + [f"batch {batch} has {count}" for batch, count in batches.items() if count != BATCH]


async def look(path: Path, expected: Expected) -> list[str]:
    """Return what is wrong in the store."""
    async with Store(path) as store:
        if WITH_VECTORS and await store.contexts() and (await store.context("c")).embedder:
            vars(graph_upkeep)["EXACT"] = GRAPH_FROM
            unnamed = await store.check()
            if any("that nothing names" not in each and "have none" not in each for each in unnamed):
                return [*unnamed]
            await store.embed("c", "static")
        found = list(await store.check())
        items: list[Item] = []
        after = 0
        while page := await store.items("c", after=after, limit=1000):
            items += [item for _, item in page]
            after = page[-1][0]
        turns: dict[int, str] = {}
        while expected.turns and (kept := await store.conversations.turns("talk", after=len(turns), limit=1000)):
            turns |= {turn.number: turn.run_id for turn in kept}
        found += expected.problems(items, turns)
        if items:
            hits = await store.search("c", items[-1].id, limit=5)
            if items[-1].id not in {item.id for item in hits.items}:
                found.append(f"{items[-1].id} is not found by its own words")
        if items and WITH_VECTORS:
            found += await lost_by_meaning(store, items)
        found += await store.check()
    return found


async def lost_by_meaning(store: Store, items: list[Item]) -> list[str]:
    """Return the items that have no vector, or another one than their text."""
    if not (await store.context("c")).embedder:
        return []
    embedder = embedder_named("static")
    key = item_vectors_key(embedder.embedding_id)
    found = []
    for item in items:
        vectors = (await embedder.embed(item_parts(item))).astype(KEPT_NUMBERS).tobytes()
        if item.features.get(key) != vectors:
            found.append(f"{item.id} has {'other' if item.features.get(key) else 'no'} vectors")
    hits = await store.search("c", items[-1].text, limit=30, by="meaning")
    gone = {item.id for item in hits.items} - {item.id for item in items}
    return found + [f"{name} is found by meaning and gone" for name in gone]


def run(rounds: int, seed: int, longest_s: float) -> tuple[int, int, list[str]]:
    """Return how many items and turns were acknowledged, and what is wrong."""
    chance, expected = random.Random(seed), Expected()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        for begun in range(rounds):
            expected.take(killed(path, begun, chance.randrange(2**32), chance.uniform(0.0, longest_s)))
            wrong = asyncio.run(look(path, expected))
            if wrong:
                return len(expected.states), len(expected.turns), [f"round {begun}: {each}" for each in wrong]
    return len(expected.states), len(expected.turns), []


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=157)
    parser.add_argument("--longest", type=float, default=1.0, help="seconds before a kill, at most")
    parser.add_argument("--vectors", action="store_true", help="with vectors of the static table, and graphs of them")
    parser.add_argument("--write", nargs=3, metavar=("PATH", "ROUND", "SEED"), help="what the killed process does")
    asked = parser.parse_args()
    if asked.write:
        asyncio.run(write(asked.write[0], int(asked.write[1]), int(asked.write[2])))
        return
    if asked.vectors:
        os.environ["NEXUS_CRASH_VECTORS"] = "yes"
        global WITH_VECTORS
        WITH_VECTORS = True
    begun = monotonic()
    items, turns, wrong = run(asked.rounds, asked.seed, asked.longest)
    print(f"{asked.rounds} kills, {items:,} items and {turns:,} turns acknowledged, {monotonic() - begun:.0f} s")
    print("\n".join(wrong[:50]) or "all there, once; index and rows agree; no problem found")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
