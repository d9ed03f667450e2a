"""Cross-encoders of this machine: how long `rerank` takes for a pair, by a model of MiniLM's size with made-up weights.

    python tests/bench/cross_encoders.py

The model has 6 layers of 384 numbers, as ms-marco-MiniLM-L6-v2 has, in 32 bits and in 8, and a tokenizer of words; a
query has 12 tokens. Each figure is the best of several in turns, since others use the machine too.

Left out: how well anything is found (the weights mean nothing), real tokenizers, several queries at once.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from nexus_embedders.bert_graph import bert_graph
from nexus_embedders.cross_encoder import OnnxCrossEncoder, load
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

LAYERS, WIDTH, WORDS, ROUNDS = 6, 384, 30_522, 15


def made_weights() -> dict[str, npt.NDArray[Any]]:
    """Return weights by the names that BertModel gives them."""
    chance, wide = np.random.default_rng(7), 4 * WIDTH
    embeddings = {"word": WORDS, "position": 512, "token_type": 2}
    shapes: dict[str, tuple[int, ...]] = {
        f"embeddings.{name}_embeddings.weight": (rows, WIDTH) for name, rows in embeddings.items()
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        place = f"encoder.layer.{layer}"
        linear = {f"attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
        linear |= {"attention.output.dense": (WIDTH, WIDTH), "intermediate.dense": (wide, WIDTH)}
        for name, shape in (linear | {"output.dense": (WIDTH, wide)}).items():
            shapes |= {f"{place}.{name}.weight": shape, f"{place}.{name}.bias": shape[:1]}
        norms += [f"{place}.attention.output.LayerNorm", f"{place}.output.LayerNorm"]
    weights = {name: chance.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    weights |= {f"{norm}.weight": np.ones(WIDTH, np.float32) for norm in norms}
    return weights | {f"{norm}.bias": np.zeros(WIDTH, np.float32) for norm in norms}


def made_encoder(folder: Path, *, in_8_bits: bool) -> OnnxCrossEncoder:
    """Return the model, with one number that is made of the first token's vector."""
    model = bert_graph(made_weights(), heads=12, in_8_bits=in_8_bits)
    constants: dict[str, npt.NDArray[Any]] = {
        "head/first": np.array(0, np.int64),
        "head/weight": np.ones((WIDTH, 1), np.float32),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model.graph.node.append(helper.make_node("Gather", ["last_hidden_state", "head/first"], ["head/vector"], axis=1))
    model.graph.node.append(helper.make_node("MatMul", ["head/vector", "head/weight"], ["logits"]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["pairs", 1]))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2} | {f"w{number}": number for number in range(3, 9_999)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return load(str(folder))


def main() -> None:
    """Print the time of a pair by its length."""
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        folders = {"32 bits": (first, False), "8 bits": (second, True)}
        encoders = {name: made_encoder(Path(at), in_8_bits=small) for name, (at, small) in folders.items()}
    query = " ".join(f"w{number}" for number in range(100, 112))
    for length in (64, 128, 256, 480):
        text = " ".join(f"w{1_000 + number}" for number in range(length))
        best = dict.fromkeys(encoders, float("inf"))
        for _ in range(ROUNDS):
            for name, encoder in encoders.items():
                started = perf_counter()
                encoder.best(query, text)
                best[name] = min(best[name], perf_counter() - started)
        figures = "   ".join(f"{name} {seconds * 1e3:6.1f} ms" for name, seconds in best.items())
        print(f"{length:>4} tokens of text: {figures}")


if __name__ == "__main__":
    main()
