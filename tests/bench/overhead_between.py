"""What a pipeline without tools costs in two trees of the project: instructions of the processor, by callgrind.

    python tests/bench/overhead_between.py BEFORE [AFTER] [--requests 100] [--streams 5]

BEFORE and AFTER are folders with a checkout each; AFTER is by default this one. Both run with this interpreter and its
packages, the pipeline of overhead.py and a service of its own on loopback, one run after the other. Instructions are
counted in the main thread while the runs last, garbage collection off, so that a figure differs from one run of this
script to the next by about .2 % where CPU time differs by 20 %. Needs valgrind. Exits 1 when a ratio is over its gate.

Left out: the threads of sinks, several runs at once, time (caches, branches), memory, and the system's own work.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from overhead import PIPELINE, QUERY, service
from protocols import PROTOCOLS

from nexus_core import Pipeline

GATE = 1.02
WARM = 8
"""Runs that are not counted."""
COUNTED = "functools_reduce"
"""The function of the interpreter in which callgrind counts: nothing else calls it while the runs last."""


def run_counted(kind: str, count: int, url: str) -> None:
    """Run the pipeline, so many times within `functools.reduce`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "overhead.yaml")
        file.write_text(PIPELINE.format(use=PROTOCOLS["openai"].use, url=url, runs=Path(folder, "runs.jsonl")))
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        pipeline = Pipeline.load(file, environment={})

        async def runs(times: int) -> None:
            for _ in range(times):
                if kind == "request":
                    await pipeline.run(QUERY)
                else:
                    async for _event in pipeline.stream(QUERY):
                        continue

        loop.run_until_complete(pipeline.__aenter__())
        loop.run_until_complete(runs(WARM))
        gc.collect()
        gc.freeze()
        gc.disable()
        functools.reduce(lambda _nothing, times: loop.run_until_complete(runs(times)), (count,), None)
        loop.run_until_complete(pipeline.__aexit__(None, None, None))


def instructions(tree: Path, kind: str, count: int, url: str) -> float:
    """Return the instructions of one run in a tree."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "callgrind")
        valgrind = ["valgrind", "--tool=callgrind", f"--toggle-collect={COUNTED}", f"--callgrind-out-file={output}"]
        command = [*valgrind, sys.executable, __file__, str(tree), "--counted", kind, str(count), url]
        path = os.pathsep.join((str(tree), str(tree / "plugins")))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
        found = re.search(r"^(?:totals|summary): (\d+)", output.read_text() if output.exists() else "", re.MULTILINE)
        if done.returncode or found is None:
            raise SystemExit(f"{tree}: nothing was counted\n{done.stderr[-2000:]}")
        return int(found[1]) / count


def main() -> int:
    """Count, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path, nargs="?", default=Path(__file__).parents[2])
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--streams", type=int, default=5)
    parser.add_argument("--counted", nargs=3, metavar=("KIND", "COUNT", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.counted:
        kind, count, url = options.counted
        run_counted(kind, int(count), url)
        return 0
    failed = False
    print(f"{'instructions of one':<20} {'before':>12} {'after':>12} {'ratio':>7} {'gate':>6}")
    with service("openai", "200", script="protocols.py", base=PROTOCOLS["openai"].base) as url:
        for kind, count in (("request", options.requests), ("stream", options.streams)):
            before, after = (instructions(tree.resolve(), kind, count, url) for tree in (options.before, options.after))
            ratio = after / before
            failed = failed or ratio > GATE
            over = "OVER" if ratio > GATE else ""
            print(f"{kind:<20} {before:>12,.0f} {after:>12,.0f} {ratio:>6.4f}x {GATE:>5.2f}x {over}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
