"""`rerank` by a cross-encoder in a folder: its order, its window, its best part, and what is said where it is none."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nexus_embedders.kinds
import numpy as np
import numpy.typing as npt
import pytest
from nexus_embedders.cross_encoder import load
from nexus_rankers.rerank import Rerank
from onnx import TensorProto, helper, numpy_helper
from tokenizers import processors

from nexus_core import Item, Pipeline, PluginError, RankerError, Ranking, RunContext
from nexus_core.cli.main import main
from nexus_core.toolkit import cross_encoder_named
from tests.plugins.embedders.conftest import WORDS, made_tokenizer

MARKS = 4
"""The first words of the tokenizer, which count for nothing."""


def made_graph(classes: int = 1, kind: str = "token_type_ids") -> bytes:
    """Return a model whose logit is the product of how often each letter stands in the query and in the text.

    With two classes that is the second, and the first is its opposite. `kind` is the
    name of the input that tells the text from the query.
    """
    node, eye = helper.make_node, np.eye(len(WORDS), dtype=np.float32)
    eye[:MARKS] = 0
    nodes = [
        node("Gather", ["letters", "input_ids"], ["rows"]),
        node("Cast", [kind], ["of_text"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["of_text", "last"], ["mask"]),
        node("Mul", ["rows", "mask"], ["text_rows"]),
        node("Sub", ["rows", "text_rows"], ["query_rows"]),
        node("ReduceSum", ["text_rows", "middle"], ["text"], keepdims=0),
        node("ReduceSum", ["query_rows", "middle"], ["query"], keepdims=0),
        node("Mul", ["text", "query"], ["shared"]),
        node("ReduceSum", ["shared", "middle"], ["positive"], keepdims=1),
        node("Neg", ["positive"], ["negative"]),
        node(
            "Concat", {1: ["positive"], 2: ["negative", "positive"], 3: ["positive"] * 3}[classes], ["logits"], axis=1
        ),
    ]
    constants: dict[str, npt.NDArray[Any]] = {
        "letters": eye,
        "last": np.array([2], np.int64),
        "middle": np.array([1], np.int64),
    }
    graph = helper.make_graph(
        nodes, "shared letters",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "n"]) for name in ("input_ids", kind)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cross-encoder with a window of 24 tokens: 3 for marks, 10 at most for the query."""
    made = tmp_path / "judge"
    made.mkdir()
    (made / "model.onnx").write_bytes(made_graph())
    (made / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 24}))
    tokenizer = made_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(made / "tokenizer.json"))
    return made


def ranking(*texts: str) -> Ranking:
    """Return a ranking in which the first text is the best."""
    items = tuple(Item(id=f"{number}", text=text) for number, text in enumerate(texts, 1))
    return Ranking(items).scored("before", [float(-place) for place in range(len(texts))])


async def order(folder: Path, query: str, before: Ranking, **options: Any) -> list[int]:
    """Return the numbers of the items in their new order."""
    ranker = Rerank(model=f"./{folder.name}", **options)
    ranker.base_dir = str(folder.parent)
    ranker.check_built()
    return [int(candidate.item.id) for candidate in await ranker.rank(query, before, RunContext())]


async def test_the_best_items_stand_in_the_order_of_the_cross_encoder(folder: Path) -> None:
    """Those below `top` keep their order below, and one without any text is the last of the best."""
    before = ranking("xx", "", "axx", "aab", "aaaa")
    assert await order(folder, "ab", before, top=4) == [4, 3, 1, 2, 5]


async def test_of_two_classes_the_second_is_the_positive_one(folder: Path) -> None:
    """As the labels of transformers have them."""
    (folder / "model.onnx").write_bytes(made_graph(classes=2))
    assert load(str(folder)).best("ab", "aab") == 6
    assert await order(folder, "ab", ranking("xx", "aab", "axx")) == [2, 3, 1]


def test_a_text_longer_than_the_window_is_read_in_parts(folder: Path) -> None:
    """Its best part counts, wherever it stands, and a query leaves half of the window to the text."""
    encoder = load(str(folder))
    assert encoder.window == 24
    assert [encoder.best("a", text) for text in ("x" * 90 + "aaa" + "y" * 90, "aaa", "", "x" * 200)] == [3, 3, 0, 0]
    assert encoder.best("a" * 50, "x" * 30 + "a") == 10


async def test_an_item_is_scored_by_its_best_part_and_only_the_first_parts_are_read(folder: Path) -> None:
    """Whole sentences of about `passage_tokens`, eight of them: what stands far behind costs nothing."""
    filler = "Qqqqq qqqqq qqqqq qqqqq qqqqq qqqqq qqqqq qqqqq qqqqq qqqqq qqqqq. "
    late, behind = filler * 3 + "Aaaa.", filler * 99 + "Aaaaaaa."
    assert await order(folder, "a", ranking("a", behind, late), passage_tokens=16) == [3, 1, 2]


def test_a_title_is_read_with_each_part(folder: Path) -> None:
    """As embedders have it."""
    items = (Item(id="1", text="x"), Item(id="2", text="x", title="aa"))
    assert asyncio.run(order(folder, "a", Ranking(items))) == [2, 1]


async def test_odd_texts_are_read_too(folder: Path) -> None:
    """Lone surrogates, nothing at all, other scripts, zeros."""
    before = ranking("\ud83d", "\x00", "\u4f60\u597d" * 500, "\u202ea", " ")
    assert (await order(folder, "a\ud83d", before))[0] == 4
    assert sorted(await order(folder, "", before)) == [1, 2, 3, 4, 5]


def test_one_model_in_memory_serves_all_who_ask(folder: Path) -> None:
    """Also in runs of several event loops at the same time, with the same order in each."""
    encoder = cross_encoder_named("./judge", folder.parent)
    assert cross_encoder_named(str(folder)) is encoder
    assert cross_encoder_named(f"onnx:{folder}") is encoder

    async def together() -> list[Sequence[float]]:
        return await asyncio.gather(*(encoder.relevance("ab", ["ab", "a", "x"]) for _ in range(8)))

    assert asyncio.run(together()) == asyncio.run(together()) == [[2, 1, 0]] * 8


NONE = {
    "no numbers": (made_graph(classes=3), "gave 3 numbers for a pair"),
    "other inputs": (made_graph(kind="pixels"), "is no cross-encoder: it takes input_ids, pixels"),
    "no model": (b"nothing of this kind", "cannot be loaded"),
}


@pytest.mark.parametrize(("content", "message"), NONE.values(), ids=NONE.keys())
async def test_what_is_no_cross_encoder_is_refused(folder: Path, content: bytes, message: str) -> None:
    """When it is first used; where failures do not count, the order before stays."""
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(RankerError, match=f"ranker 'rerank': .*{message}"):
        await order(folder, "a", ranking("x", "a"))
    assert await order(folder, "a", ranking("x", "a"), on_failure="keep") == [1, 2]


def test_numbers_that_are_none_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They could not be put in order."""
    encoder = load(str(folder))
    monkeypatch.setattr(type(encoder.session), "run", lambda *_: [np.array([[math.nan]])])
    with pytest.raises(PluginError, match="gave nan for a pair"):
        encoder.best("a", "a")


PIPELINE = (
    "name: n\nmodels: {main: {use: extractive}}\nsteps:\n"
    "  - gather: {use: inline, items: [tide, a moon pulls the sea]}\n"
    "  - rank: {use: rerank, model: %s}\n  - prompt: qa\n  - generate: main\n"
)


def lint(path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what `nexus lint` says of a pipeline that names a model."""
    path.write_text(PIPELINE % model)
    with pytest.raises(SystemExit):
        main(["lint", str(path)])
    return capsys.readouterr().out


def test_lint_names_what_is_missing_and_the_command(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the place in the file: a file, a folder, a package; nothing where all is there."""
    path = folder.parent / "n.yaml"
    assert lint(path, "./judge", capsys) == ""
    (folder / "tokenizer.json").unlink()
    told = lint(path, "./judge", capsys)
    assert (":5:" in told, f"tokenizer.json must be in {folder}: optimum-cli export onnx" in told) == (True, True)
    assert "model.onnx and tokenizer.json must be in" in lint(path, "./jugde", capsys)
    monkeypatch.setattr(nexus_embedders.kinds, "find_spec", lambda name: None)
    assert "needs the package onnxruntime: pip install 'contextnexus[minilm]'" in lint(path, "./judge", capsys)


LOOKED_AT = {
    "embedder": ({"architectures": ["BertModel"]}, "names BertModel, which is no cross-encoder"),
    "labels": (
        {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}},
        "gives 3 numbers for a pair",
    ),
    "number of labels": ({"num_labels": 5}, "gives 5 numbers for a pair"),
    "one label": ({"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "LABEL_0"}}, ""),
    "two by default": ({"architectures": ["BertForSequenceClassification"]}, ""),
    "odd": ({"architectures": [None], "id2label": 7}, ""),
    "no map": ([], ""),
}


@pytest.mark.parametrize(("config", "said"), LOOKED_AT.values(), ids=LOOKED_AT.keys())
def test_lint_refuses_a_folder_that_holds_another_kind_of_model(
    folder: Path, capsys: pytest.CaptureFixture[str], config: object, said: str
) -> None:
    """By the file that describes it, where there is one; the model itself is not read."""
    (folder / "config.json").write_text(json.dumps(config))
    told = lint(folder.parent / "n.yaml", "./judge", capsys)
    assert said in told
    assert bool(said) == (":5:" in told), told


@pytest.mark.parametrize("place", ["1_Pooling/config.json", "manifest.json"])
def test_lint_refuses_an_embedder_without_a_description(
    folder: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """A model of sentence-transformers, and one that `nexus models install` has put there."""
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text(json.dumps({"embedding_id": "minilm:x"}))
    assert "makes vectors, and is no cross-encoder" in lint(folder.parent / "n.yaml", "./judge", capsys)


def test_a_word_that_is_no_path_stays_the_name_of_a_connector(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plugin's, or one that nobody has; and a folder has no endpoint."""
    path = folder.parent / "n.yaml"
    assert lint(path, "extractive", capsys) == ""
    assert "no connector is named 'mian'" in lint(path, "mian", capsys)
    assert "is for connectors" in lint(path, "./judge, method: endpoint", capsys)


async def test_a_pipeline_reranks_without_a_service(folder: Path) -> None:
    """The folder is seen from the pipeline's file."""
    path = folder.parent / "n.yaml"
    path.write_text(PIPELINE % "./judge")
    async with Pipeline.load(path) as pipeline:
        answer = await pipeline.run("moon sea")
    assert "moon" in answer.text
