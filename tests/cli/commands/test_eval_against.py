"""`nexus eval --against-...`: one pipeline against itself, with another setting, store or context."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core import Item, Store
from nexus_core.cli.main import main

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]

TEXTS = {"leave": "Everybody has 28 days of leave.", "travel": "Trains are booked in second class."}
QUERIES = (
    '{"_id": "q1", "text": "How many days of leave are there?"}\n{"_id": "q2", "text": "Which class for trains?"}\n'
)
QRELS = "query-id\tcorpus-id\tscore\nq1\tleave\t1\nq2\ttravel\t1\n"
GATHERING = """name: mine
models: {main: {use: extractive}}
steps:
  - gather: store
  - rank: {use: bm25, k1: 1.2}
  - prompt: {template: qa, budget: 500}
  - generate: main
"""
FILES = ("--queries", "queries.jsonl", "--qrels", "qrels.tsv")


async def fill(folder: Path, context: str, ids: tuple[str, ...]) -> None:
    """Make a store whose context has these items."""
    async with Store(folder) as store:
        await store.create(context)
        await store.add(context, [Item(id=name, text=TEXTS[name]) for name in ids])


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run `nexus eval` in a folder with two stores: the old one lacks an item."""
    asyncio.run(fill(tmp_path / "old", "office", ("leave",)))
    asyncio.run(fill(tmp_path / "new", "office", ("leave", "travel")))
    asyncio.run(fill(tmp_path / "new", "few", ("travel",)))
    (tmp_path / "queries.jsonl").write_text(QUERIES)
    (tmp_path / "qrels.tsv").write_text(QRELS)
    (tmp_path / "mine.yaml").write_text(GATHERING)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["eval", "mine.yaml", *arguments])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def recalls(out: str) -> dict[str, float]:
    """Return recall by the names of pipelines."""
    return {line["pipeline"]: line["measures"]["recall@100"]["mean"] for line in json.loads(out)["pipelines"]}


def test_two_stores_are_compared_query_by_query(nexus: Nexus) -> None:
    """Nothing is ingested anew; the difference has its interval."""
    code, out, _ = nexus(*FILES, "--context", "office", "--store", "old", "--against-store", "new", "--json")
    assert (code, recalls(out)) == (0, {"mine": 0.5, "mine with store new": 1.0})
    assert json.loads(out)["pipelines"][1]["differences"]["recall@100"]["mean"] == 0.5


def test_two_contexts_of_a_store_are_compared(nexus: Nexus) -> None:
    """The first one is the one of --context."""
    code, out, _ = nexus(*FILES, "--context", "office", "--store", "new", "--against-context", "few", "--json")
    assert (code, recalls(out)) == (0, {"mine": 1.0, "mine with context few": 0.5})


def test_settings_are_compared_and_may_be_several(nexus: Nexus) -> None:
    """All of them together are one variant, over what --set says of both."""
    code, out, err = nexus(
        *FILES, "--context", "office", "--store", "new", "--set", "steps[1].rank.pairs=0",
        "--against-set", "steps[1].rank.k1=2.0", "--against-set", "steps[0].gather.candidates=1",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "Against mine, on the same queries" in out
    assert "mine with steps[1].rank.k1=2.0, steps[0].gather.candidates=1" in out
    assert "Cost per query" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine.yaml", "--against-set", "steps[1].rank.k1=2"), "compares one pipeline with itself"),
        (("--against-set", "steps[1].rank.k2=2"), "takes no 'k2'"),
        (("--against-store", "nowhere"), "nowhere"),
        (("--corpus", "corpus.jsonl", "--against-store", "new"), "the items come from the corpus file"),
    ],
    ids=["two pipelines", "wrong setting", "no such store", "a corpus"],
)
def test_what_cannot_be_compared_is_told(
    nexus: Nexus, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Before anything is run."""
    (tmp_path / "corpus.jsonl").write_text('{"_id": "leave", "text": "x"}\n{"_id": "travel", "text": "y"}\n')
    context = () if "--corpus" in arguments else ("--context", "office", "--store", "new")
    code, out, err = nexus(*arguments, *FILES, *context)
    assert (code, out) == (2, "")
    assert message in err


def test_a_pipeline_without_a_store_has_none_to_compare(nexus: Nexus, tmp_path: Path) -> None:
    """The source that it has is another one."""
    (tmp_path / "mine.yaml").write_text(GATHERING.replace("gather: store", "gather: {use: files, paths: ['*.md']}"))
    code, _, err = nexus(*FILES, "--context", "office", "--against-store", "new")
    assert code == 2
    assert "has no step `gather: store`" in err
