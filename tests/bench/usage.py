"""Kills pipelines that keep their usage in a store, again and again, and looks at what `nexus usage` would show.

    python tests/bench/usage.py [--rounds 200] [--seed 6]

Each round starts a process in which two pipelines with `sinks: [store]`, loaded from YAML, answer one question after
the other, and kills it at a random moment (SIGKILL); every tenth round they are closed cleanly besides. No request may
be counted twice or in part, none may be missing that had ended a second before the kill, and after a clean close none
at all. Exits with 1 where not.

Left out: a store that is busy or full, where what waits in memory is lost by a kill, and the loss of power.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic

from attrs import define

from nexus_core import DailyUsage, Pipeline, Store

MARGIN_S = 1.0
"""What had ended so long before a kill is not missing."""
CLEAN_EACH = 10
_STOP = "stop"
_PIPELINE = """\
name: {name}
models: {{main: {{use: extractive}}}}
steps:
  - gather: {{use: inline, items: [Everybody has 28 days of leave.]}}
  - prompt: qa
  - generate: main
sinks: [{{use: store, path: "{store}"}}]
"""


@define
class Asked:
    """What a pipeline of a round has said."""

    begun: int = 0
    ended: int = 0
    surely: int = 0
    """Of those that ended, the ones that did so long enough before the kill."""


# The process that is killed


async def ask(folder: Path, store: str, name: str, stop: asyncio.Event) -> None:
    """Run one pipeline until told to stop, and say before and after each run that it begins and has ended."""
    file = folder / f"{name}.yaml"
    file.write_text(_PIPELINE.format(name=name, store=store))
    async with Pipeline.load(file) as pipeline:
        while not stop.is_set():
            print("begun", name, monotonic(), flush=True)
            await pipeline.run("How many days of leave?")
            print("ended", name, monotonic(), flush=True)
            await asyncio.sleep(0.002)  # more would fill the pipe, not the sink


async def work(folder: Path, store: str, begun: int) -> None:
    """Run both pipelines of a round until standard input tells to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    await asyncio.gather(*(ask(folder, store, f"round-{begun}-{each}", stop) for each in "ab"))


# The process that kills


def one_round(folder: Path, store: Path, begun: int, after_s: float, *, kills: bool) -> dict[str, Asked]:
    """Let a process run pipelines for so long, end it, and return what it said, by pipeline."""
    command = [sys.executable, "-P", __file__, "--work", str(folder), str(store), str(begun)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    said = [process.stdout.readline()]
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        ended_at = monotonic()
        if kills:
            process.kill()
        else:
            process.stdin.write(_STOP)
            process.stdin.close()
    said += process.stdout.read().splitlines(keepends=True)
    if process.wait() != (-9 if kills else 0):
        raise SystemExit(f"the process of round {begun} ended by itself with {process.returncode}")
    return told([line for line in said if line.endswith("\n")], ended_at - MARGIN_S if kills else ended_at + 3600)


def told(lines: list[str], sure_until: float) -> dict[str, Asked]:
    """Return what lines say of each pipeline."""
    found: dict[str, Asked] = {}
    for line in lines:
        word, name, moment = line.split()
        asked = found.setdefault(name, Asked())
        if word == "begun":
            asked.begun += 1
        else:
            asked.ended += 1
            asked.surely += float(moment) <= sure_until
    return found


def wrong(name: str, asked: Asked, row: DailyUsage | None, *, killed: bool) -> list[str]:
    """Return what is not as it must be with the usage of one pipeline."""
    counted = row.requests if row is not None else 0
    most, least = (asked.begun, asked.surely) if killed else (asked.ended, asked.ended)
    found = [f"{name}: {counted} counted, {most} were made"] if counted > most else []
    found += [f"{name}: {counted} counted, {least} must be"] if counted < least else []
    if row is not None and (row.attempts != row.requests or row.prompt_tokens % row.requests):
        found.append(f"{name}: {row.requests} requests and {row.attempts} attempts with {row.prompt_tokens} tokens")
    return found


async def usage(store: Path) -> dict[str, DailyUsage]:
    """Return what is kept, by pipeline: over midnight it is the sum of two days."""
    found: dict[str, DailyUsage] = {}
    async with Store(store) as opened:
        for row in await opened.usage():
            found[row.pipeline] = found[row.pipeline] + row if row.pipeline in found else row
    return found


def schedule(rounds: int) -> list[bool]:
    """Return for each process whether it is killed: the tenth after ten that were, and the last, are closed."""
    found = [True] * rounds
    for place in range(rounds - rounds % CLEAN_EACH, 0, -CLEAN_EACH):
        found.insert(place, False)
    return found if found[-1:] == [False] else [*found, False]


def run(rounds: int, seed: int, longest_s: float) -> tuple[int, int, int, list[str]]:
    """Return how many requests ended, how many of them are counted, how many rounds closed, and what is wrong."""
    chance, ended, closed, problems = Random(seed), 0, 0, list[str]()
    with TemporaryDirectory() as name:
        folder, store = Path(name), Path(name) / "store"
        for begun, kills in enumerate(schedule(rounds)):
            said = one_round(folder, store, begun, chance.uniform(0.1, longest_s), kills=kills)
            kept = asyncio.run(usage(store))
            for pipeline, asked in said.items():
                problems += wrong(pipeline, asked, kept.get(pipeline), killed=kills)
                ended += asked.ended
            closed += not kills
        counted = sum(row.requests for row in kept.values())
    return ended, counted, closed, problems


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="kills")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--longest", type=float, default=2.5, help="seconds before a kill, at most")
    parser.add_argument("--work", nargs=3, metavar=("FOLDER", "STORE", "ROUND"), help="what the killed process does")
    asked = parser.parse_args()
    if asked.work:
        asyncio.run(work(Path(asked.work[0]), asked.work[1], int(asked.work[2])))
        return
    started = monotonic()
    ended, counted, closed, problems = run(asked.rounds, asked.seed, asked.longest)
    print(
        f"{asked.rounds} kills, {closed} clean closes: {ended:,} requests ended, {counted:,} are in the usage, ", end=""
    )
    print(f"{monotonic() - started:.0f} s")
    print("\n".join(problems[:50]) or "none counted twice, none missing that was a second old; no problem found")
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
