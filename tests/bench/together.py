"""Five sources at the same time over real sockets: the time of `together` against that of the slowest service.

    python tests/bench/together.py [--rounds 20]

Five HTTP services on this machine, in a process of their own, answer after 40 to 120 ms. A pipeline gathers from all of
them in one `together` step, a second one gathers from the slowest alone, and a third one gathers from one after the
other; they take turns. Each source opens a connection for each run. The gate holds for the median of the ratios of the
first to the second. Exits 1 when it is missed.

Left out: models, ranking and packing; sources that keep this process busy rather than waiting; connections kept open.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from nexus_core import Pipeline

DELAYS_S = (0.04, 0.12, 0.06, 0.1, 0.08)
GATE = 1.1
PLUGIN = '''
import aiohttp
from nexus_core import Item, component, hookimpl, option


@component
class Remote:
    """Asks a service by HTTP."""

    url: str = option(help="Its address.")

    async def gather(self, query, run):
        async with aiohttp.ClientSession() as session, session.get(self.url) as response:
            return (Item(id=self.url, text=await response.text()),)


@hookimpl
def nexus_sources():
    return [Remote]
'''


async def serve() -> None:
    """Answer HTTP after a while, each port after its own, until the process is ended."""

    def handler(delay_s: float) -> object:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(delay_s)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nfound")
            await writer.drain()
            writer.close()

        return answer

    servers = [await asyncio.start_server(handler(delay_s), "127.0.0.1", 0) for delay_s in DELAYS_S]  # type: ignore[arg-type]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


def pipeline_of(folder: Path, name: str, ports: list[str], *, together: bool) -> Pipeline:
    """Return a pipeline that gathers from some services, and shows nothing to a model."""
    lines = [f'- gather: {{use: own, url: "http://127.0.0.1:{port}/"}}' for port in ports]
    steps = ["- together:", *(f"  {line}" for line in lines)] if together else lines
    path = folder / f"{name}.yaml"
    path.write_text("\n".join([f"name: {name}", "plugins: [./own.py]", "models: {m: extractive}", "steps:", *steps,
                               "- prompt: {template: qa}", "- generate: m"]))  # fmt: skip
    return Pipeline.load(path)


async def seconds_of(pipeline: Pipeline, items: int) -> float:
    """Return how long a run takes up to the call of its model."""
    began = perf_counter()
    prepared = await pipeline.prepare("What was found?")
    taken = perf_counter() - began
    assert len(prepared.state.ranking.items) == items
    return taken


async def measure(ports: list[str], rounds: int, folder: Path) -> bool:
    """Measure in turns, print the figures, and tell whether the gate holds."""
    (folder / "own.py").write_text(PLUGIN)
    slowest = ports[DELAYS_S.index(max(DELAYS_S))]
    async with (
        pipeline_of(folder, "together", ports, together=True) as side_by_side,
        pipeline_of(folder, "slowest", [slowest], together=False) as alone,
        pipeline_of(folder, "in_turn", ports, together=False) as in_turn,
    ):
        asked = ((side_by_side, len(ports)), (alone, 1), (in_turn, len(ports)))
        for pipeline, items in asked:
            await seconds_of(pipeline, items)  # what is opened and built
        rows = [[await seconds_of(pipeline, items) for pipeline, items in asked] for _ in range(rounds)]
    for name, column in zip(
        ("together", "the slowest alone", "one after the other"), zip(*rows, strict=True), strict=True
    ):
        print(f"{name:<20} {statistics.median(column) * 1000:7.1f} ms")
    ratio = statistics.median([row[0] / row[1] for row in rows])
    print(f"together / slowest   {ratio:7.3f} x, at most {GATE} x")
    return ratio <= GATE


def main() -> None:
    """Start the services and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve())
        return
    services = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert services.stdout is not None
        ports = services.stdout.readline().split()
        with tempfile.TemporaryDirectory() as folder:
            if not asyncio.run(measure(ports, asked.rounds, Path(folder))):
                sys.exit(1)
    finally:
        services.terminate()
        services.wait()


if __name__ == "__main__":
    main()
