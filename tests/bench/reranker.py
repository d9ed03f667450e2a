"""What `rerank` with `method: endpoint` adds to `bm25`: nDCG@10, with a model of sentences as the judge.

    python tests/bench/reranker.py MODEL DIR... [--top 20,50,100] [--queries N]

MODEL is a folder or name of sentence-transformers (`pip install 'contextnexus[sentence]'`); DIR a collection in BEIR
layout. A service on this machine rates texts by the cosine of their embeddings, at `POST /v1/rerank` as Cohere and Jina
serve it. It stands for a judge and is none: a real reranker reads query and text together.

Left out: time and cost of real rerankers, their own quality, and the cutting of texts that are too long for them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from aiohttp import web
from nexus_embedders.sentence_transformers import SentenceEmbedder, load

from nexus_core import Pipeline
from nexus_core.evaluation.beir import BeirFiles, read_collection
from nexus_core.evaluation.collection import JudgedCollection
from nexus_core.evaluation.measures import measure_rankings, retrieved

WORDS = "name: bm25\nmodels: {main: {use: extractive}}\nsteps: [{rank: bm25}, {prompt: qa}, {generate: main}]\n"
JUDGED = """name: judged
models: {main: {use: extractive}}
steps:
  - rank: bm25
  - rank: {use: rerank, method: endpoint, top: %(top)d, model: {use: openai, base_url: "%(url)s", model: judge}}
  - prompt: qa
  - generate: main
"""


class Judge:
    """Rates texts; each text is embedded once."""

    def __init__(self, embedder: SentenceEmbedder) -> None:
        self.requests = 0
        self._embedder = embedder
        self._known: dict[str, Any] = {}

    async def rerank(self, request: web.Request) -> web.Response:
        """Answer as a rerank endpoint does: best first, each with the place of its text."""
        asked = await request.json()
        self.requests += 1
        wanted = [asked["query"], *asked["documents"]]
        new = [*dict.fromkeys(text for text in wanted if text not in self._known)]
        if new:
            self._known.update(zip(new, await self._embedder.embed(new), strict=True))
        query, *texts = (self._known[text] for text in wanted)
        rated = [{"index": place, "relevance_score": float(query @ text)} for place, text in enumerate(texts)]
        return web.json_response({"results": sorted(rated, key=lambda entry: -entry["relevance_score"])})


@contextmanager
def serving(judge: Judge) -> Iterator[str]:
    """Serve on a free port of this machine, from a thread of its own, and give the address."""
    loop, ready, url = asyncio.new_event_loop(), Event(), list[str]()

    async def begin() -> web.AppRunner:
        application = web.Application(client_max_size=1 << 24)
        application.router.add_post("/v1/rerank", judge.rerank)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url.append(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        ready.set()
        return runner

    def serve() -> None:
        runner = loop.run_until_complete(begin())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = Thread(target=serve)
    thread.start()
    ready.wait()
    try:
        yield url[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def loaded(text: str) -> Pipeline:
    """Return the pipeline that a text is."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "pipeline.yaml")
        file.write_text(text)
        return Pipeline.load(file)


async def measure(collection: JudgedCollection, text: str, limit: int | None) -> float:
    """Return the nDCG@10 of a pipeline: its ranking of every item, packed for nobody."""
    async with loaded(text) as pipeline:
        found = {}
        for query in collection.first(limit).queries:
            prepared = await pipeline.prepare(query.text, items=collection.items or ())
            found[query.id] = retrieved(prepared.state.ranking, 10)
    figures = measure_rankings(collection.relevant, found)
    return sum(values[0] for values in figures.values()) / len(figures)


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--top", default="20,50,100", help="how many items are reordered, one pipeline for each")
    parser.add_argument("--queries", type=int, default=None, help="only so many queries of each collection")
    options = parser.parse_args()
    judge = Judge(load(options.model, download=False))
    print(f"{'collection':<16} {'pipeline':<10} {'nDCG@10':>8}")
    with serving(judge) as url:
        texts = {"bm25": WORDS}
        texts |= {f"top {top}": JUDGED % {"top": top, "url": url} for top in map(int, options.top.split(","))}
        for folder in options.folders:
            collection = read_collection(BeirFiles.of_folder(folder), kind="code" if folder.name == "cosqa" else "text")
            for name, text in texts.items():
                figure = asyncio.run(measure(collection, text, options.queries))
                print(f"{folder.name:<16} {name:<10} {figure:>8.4f}", flush=True)
    print(f"{judge.requests} requests", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
