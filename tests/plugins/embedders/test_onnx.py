"""Models of sentences in ONNX: which vectors they make, and what is said of folders that hold none."""

from __future__ import annotations

import asyncio
import json
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nexus_embedders.bert_graph import bert_graph
from nexus_embedders.onnx_session import load, open_session
from nexus_rankers.semantic import Semantic

from nexus_core import Item, PluginError, Ranking, RunContext
from nexus_core.toolkit import TextEmbedder, embedder_named
from tests.plugins.embedders.conftest import HEADS, WIDTH, made_tokenizer, made_weights

TEXTS = ("abc", "the moon pulls the sea", "z" * 900, "tax\ud83d", "abc")

Rows = npt.NDArray[Any]


def _norm(rows: Rows, weights: dict[str, Rows], name: str) -> Rows:
    spread = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-12)
    return np.asarray(spread * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def _linear(rows: Rows, weights: dict[str, Rows], name: str) -> Rows:
    return np.asarray(rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])


def bert_by_hand(ids: list[int], weights: dict[str, Rows]) -> Rows:
    """Return the last hidden state as the paper has it, one step after the other."""
    place = "embeddings."
    rows = weights[f"{place}word_embeddings.weight"][ids] + weights[f"{place}position_embeddings.weight"][: len(ids)]
    rows = _norm(rows + weights[f"{place}token_type_embeddings.weight"][0], weights, f"{place}LayerNorm")
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        own = [_linear(rows, weights, f"{layer}.attention.self.{name}") for name in ("query", "key", "value")]
        query, key, value = (part.reshape(len(ids), HEADS, -1).transpose(1, 0, 2) for part in own)
        scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(WIDTH // HEADS))
        mixed = (scores / scores.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(ids), WIDTH)
        attended = _linear(mixed, weights, f"{layer}.attention.output.dense")
        rows = _norm(rows + attended, weights, f"{layer}.attention.output.LayerNorm")
        wide = _linear(rows, weights, f"{layer}.intermediate.dense")
        wide = wide * (1 + np.vectorize(erf)(wide / np.sqrt(2))) / 2
        rows = _norm(rows + _linear(wide, weights, f"{layer}.output.dense"), weights, f"{layer}.output.LayerNorm")
    return rows


def test_the_graph_computes_what_bert_is() -> None:
    """Against the same steps in numpy, for texts of several lengths in one batch: what fills up counts for nothing."""
    weights, tokenizer = made_weights(), made_tokenizer()
    session = open_session(bert_graph(weights, heads=HEADS, in_8_bits=False).SerializeToString())
    ids = [tokenizer.encode(text).ids for text in ("abc", "the moon pulls the sea")]
    tokens, mask = (np.zeros((2, len(ids[1])), np.int64) for _ in range(2))
    for row, own in enumerate(ids):
        tokens[row, : len(own)], mask[row, : len(own)] = own, 1
    (hidden,) = session.run(None, {"input_ids": tokens, "attention_mask": mask})
    for row, own in enumerate(ids):
        assert hidden[row, : len(own)] == pytest.approx(bert_by_hand(own, weights), abs=1e-4)


def test_eight_bits_are_near_to_all(model_folder: Path) -> None:
    """The same texts have nearly the same vectors, in a third of the bytes."""
    exact = load(str(model_folder))
    small = bert_graph(made_weights(), heads=HEADS, in_8_bits=True).SerializeToString()
    (model_folder / "model.onnx").write_bytes(small)
    cosines = (exact.vectors(TEXTS) * load(str(model_folder)).vectors(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.99


def test_vectors_are_the_mean_of_all_tokens(model_folder: Path) -> None:
    """Of unit length; the same for the same text, whatever stands beside it; cut after 256 tokens."""
    embedder = load(str(model_folder))
    vectors = embedder.vectors(TEXTS)
    expected = bert_by_hand(made_tokenizer().encode("abc").ids, made_weights()).mean(axis=0)
    assert vectors[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-4)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert (vectors[0] == vectors[4]).all()
    assert (embedder.vectors(["z" * 254])[0] == vectors[2]).all()
    assert embedder.vectors([]).shape == (0, WIDTH)


def test_a_folder_says_how_its_vectors_are_made(model_folder: Path) -> None:
    """By its first token, and cut after fewer tokens; which is another model by its name."""
    plain = load(str(model_folder))
    (model_folder / "1_Pooling").mkdir()
    (model_folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    (model_folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 5}))
    other = load(str(model_folder))
    first = bert_by_hand(made_tokenizer().encode("abc").ids, made_weights())[0]
    assert other.vectors(["abcdef"])[0] == pytest.approx(first / np.linalg.norm(first), abs=1e-4)
    assert plain.embedding_id != other.embedding_id


async def test_a_folder_is_an_embedder_by_its_path(model_folder: Path) -> None:
    """As seen from another folder; and one in memory for all who ask while somebody holds it."""
    embedder = await asyncio.to_thread(embedder_named, "./letters", model_folder.parent)
    assert isinstance(embedder, TextEmbedder)
    assert embedder.dimensions == WIDTH
    assert embedder_named("onnx:./letters", model_folder.parent) is embedder
    assert (await embedder.embed(["abc"])).shape == (1, WIDTH)


async def test_semantic_ranks_by_a_model_in_a_folder(model_folder: Path) -> None:
    """Its vectors are kept under the model's name."""
    items = tuple(Item(id=text, text=text) for text in ("qqqq", "the sea", "xyz"))
    semantic = Semantic(model="./letters")
    semantic.base_dir = str(model_folder.parent)
    semantic.check_built()
    ranking = await semantic.rank("the sea", Ranking(items), RunContext())
    assert ranking[0].item.id == "the sea"
    ((key, _),) = items[0].features.items()
    assert key == ("vector", f"{load(str(model_folder)).embedding_id}/96")


@pytest.mark.parametrize("lost", ["model.onnx", "tokenizer.json"])
def test_a_folder_without_its_files_says_what_it_takes(model_folder: Path, lost: str) -> None:
    """Or with files of something else."""
    (model_folder / lost).write_bytes(b"nothing of this kind")
    with pytest.raises(PluginError, match=r"takes model\.onnx and tokenizer\.json"):
        embedder_named(f"onnx:{model_folder}")
