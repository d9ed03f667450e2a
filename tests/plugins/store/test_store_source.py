"""The source `store` in pipelines: what it yields, many runs at once, and what rankers have worked out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from nexus_store import source as source_module
from nexus_store.source import StoreSource

from nexus_core import Item, Pipeline, RunContext, SourceError, Store, vector_key
from nexus_core.testing.upstream import ScriptedUpstream, error_body, json_answer

PIPELINE = """
name: notes
models: {{main: {{use: extractive}}}}
steps:
  - gather: {{use: store, context: notes, path: "{folder}"}}
  - rank: bm25
  - prompt: qa
  - generate: main
"""


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Return a store with a context of some items."""
    async with Store(tmp_path / "store") as store:
        await store.create("notes")
        await store.add(
            "notes",
            [
                Item(id="ferry", text="The ferry leaves at nine.", tags=("sea",)),
                Item(id="baker", text="The baker opens at six, before the ferry leaves."),
                *(Item(id=f"n{n}", text=f"Note {n} of the harbour.") for n in range(20)),
            ],
        )
    return tmp_path / "store"


async def vectors(folder: Path) -> int:
    """Return how many vectors a store has."""
    async with Store(folder) as store:
        counting = "SELECT count(DISTINCT item_key) FROM vector_parts"
        return await store.read(lambda connection: int(connection.execute(counting).fetchone()[0]))


async def test_a_pipeline_answers_from_a_context(folder: Path, tmp_path: Path) -> None:
    """Many runs at once, through one source, each from what its own query finds."""
    path = tmp_path / "notes.yaml"
    path.write_text(PIPELINE.format(folder=folder), "utf-8")
    async with Pipeline.load(path, environment={}) as pipeline:
        answers = await asyncio.gather(*(pipeline.run(f"What is note {n} of?") for n in range(20)))
        assert "nine" in (await pipeline.run("When does the ferry leave?")).text
    assert [answer.prompt.items[0].item.id for answer in answers] == [f"n{n}" for n in range(20)]


async def test_tags_and_candidates_bound_what_comes(folder: Path) -> None:
    """The options are the search's."""
    async with StoreSource(context="notes", path=str(folder), tags=("sea",)) as source:
        assert [item.id for item in (await source.gather("ferry", RunContext())).items] == ["ferry"]
    async with StoreSource(context="notes", path=str(folder), candidates=3) as source:
        assert len((await source.gather("harbour", RunContext())).items) == 3


async def test_the_caller_of_a_run_names_the_context_where_the_pipeline_does_not(folder: Path, tmp_path: Path) -> None:
    """One pipeline for all contexts; without a name from either side it says what is missing."""
    path = tmp_path / "any.yaml"
    path.write_text(PIPELINE.format(folder=folder).replace("context: notes, ", ""), "utf-8")
    async with Pipeline.load(path, environment={}) as pipeline:
        assert pipeline.takes_context
        answer = await pipeline.run("When does the ferry leave?", context_id="notes")
        assert ("nine" in answer.text, answer.context_id) == (True, "notes")
        assert (await pipeline.explain("When does the ferry leave?", context_id="notes")).prompt.items
        with pytest.raises(SourceError, match="no context is named"):
            await pipeline.run("When does the ferry leave?")


async def test_items_of_a_caller_who_names_no_context_are_asked_alone(folder: Path, tmp_path: Path) -> None:
    """A context that the pipeline names itself is searched beside them."""
    given = Item(id="a", text="The ferry leaves at seven.")
    for named, count in (("", 1), ("context: notes, ", 2)):
        path = tmp_path / "any.yaml"
        path.write_text(PIPELINE.format(folder=folder).replace("context: notes, ", named), "utf-8")
        async with Pipeline.load(path, environment={}) as pipeline:
            answer = await pipeline.run("When does the ferry leave?", items=[given])
        ferries = [packed for packed in answer.prompt.items if packed.text.startswith("The ferry")]
        assert ("seven" in answer.text, len(ferries)) == (True, count)


async def test_an_unknown_context_is_told(folder: Path) -> None:
    """With the closest name and what there is."""
    async with StoreSource(context="note", path=str(folder)) as source:
        with pytest.raises(SourceError, match="did you mean 'notes'"):
            await source.gather("ferry", RunContext())


async def test_a_missing_store_is_told_and_not_made(tmp_path: Path) -> None:
    """Who only reads makes no store."""
    with pytest.raises(SourceError, match="nexus context add notes PATH"):
        await StoreSource(context="notes", path=str(tmp_path / "none")).__aenter__()
    assert not (tmp_path / "none").exists()


async def test_a_damaged_store_is_told(tmp_path: Path) -> None:
    """As an error of the source."""
    (tmp_path / "store.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(SourceError, match="store:"):
        await StoreSource(context="notes", path=str(tmp_path)).__aenter__()


async def test_vectors_are_kept_for_each_run(folder: Path) -> None:
    """What rankers have worked out of the items of several runs at once is kept when the source is closed."""
    async with StoreSource(context="notes", path=str(folder)) as source:
        found = await asyncio.gather(*(source.gather(query, RunContext()) for query in ("ferry", "baker", "note 7")))
        for ranking in found:
            for item in ranking.items:
                item.features.put(vector_key("test"), b"\0\0\0\0")
    kept = {item.id for ranking in found for item in ranking.items}
    assert await vectors(folder) == len(kept)
    async with StoreSource(context="notes", path=str(folder)) as source:
        (item,) = [item for item in (await source.gather("nine", RunContext())).items if item.id == "ferry"]
        assert item.features.get(vector_key("test")) == b"\0\0\0\0"


async def test_vectors_are_kept_while_the_source_is_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon after a run, and no run waits for it."""
    monkeypatch.setattr(source_module, "TOGETHER_S", 0.01)
    async with StoreSource(context="notes", path=str(folder)) as source:
        (await source.gather("ferry", RunContext())).items[0].features.put(vector_key("test"), b"\0\0\0\0")
        for _ in range(1000):
            if await vectors(folder):
                return
            await asyncio.sleep(0.01)
    raise AssertionError("no vector was kept in ten seconds")


async def test_vectors_that_cannot_be_kept_harm_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that may only be read is searched, and closed without an error."""
    monkeypatch.setattr("nexus_core.store.database.paths.StorePaths.may_be_written", lambda self: False)
    async with StoreSource(context="notes", path=str(folder)) as source:
        (await source.gather("ferry", RunContext())).items[0].features.put(vector_key("test"), b"\0\0\0\0")
    assert "vectors are not kept" in caplog.text


BY_A_SERVICE = """
name: notes
models:
  main: {{use: extractive}}
  vectors: {{use: openai, model: m, base_url: "{url}", embedding_batch: 100, retry: {{first_wait: 0}}}}
steps:
  - gather: {{use: store, context: notes, path: "{folder}", candidates: 5}}
  - rank: {{use: semantic, model: vectors}}
  - prompt: qa
  - generate: main
"""


async def test_vectors_of_a_service_are_asked_for_once_and_kept(folder: Path, tmp_path: Path) -> None:
    """A request that fails is made again; the next process asks for the query alone, and each request has its row."""
    query = json_answer({"data": [{"embedding": [1, 0]}], "usage": {"prompt_tokens": 5, "total_tokens": 5}})
    failed = json_answer(error_body("no"), status=500)
    items = json_answer({"data": [{"embedding": [0, 1]}, {"embedding": [1, 0]}]})
    path, found = tmp_path / "notes.yaml", []
    async with ScriptedUpstream(query, failed, items, query) as upstream:
        path.write_text(BY_A_SERVICE.format(folder=folder, url=upstream.url), "utf-8")
        for _ in range(2):
            async with Pipeline.load(path, environment={}) as pipeline:
                found.append((await pipeline.run("When does the ferry leave?")).attempts)
        assert await upstream.left_open() == []
    assert await vectors(folder) == 2
    assert [[(row.model, row.purpose, row.outcome) for row in rows[:-1]] for rows in found] == [
        [("vectors", "embed", "ok"), ("vectors", "embed", "server_error"), ("vectors", "embed", "ok")],
        [("vectors", "embed", "ok")],
    ]
    assert [(row.prompt_tokens, row.usage_source) for row in found[1][:-1]] == [(5, "provider")]
    assert found[0][2].usage_source == "estimated"
