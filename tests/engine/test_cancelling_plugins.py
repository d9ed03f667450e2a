"""A plugin that cancels the task that it runs in has failed, and cancels nobody; whoever asked may cancel a run."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from nexus_core import ConnectorError, Event, Pipeline, PluginError, RankerError, SourceError, TemplateError

PLUGIN = '''
import asyncio
from contextlib import ExitStack
from nexus_core import *

async def act(how):
    """Cancel the task of the caller, or let out a CancelledError, as `how` says."""
    task = asyncio.current_task()
    match how:
        case "cancels":
            task.cancel()
        case "cancels for a reason":
            task.cancel("mine")
        case "cancels at its end":
            with ExitStack() as stack:
                stack.callback(task.cancel)
        case "cancels in a group":
            async with asyncio.TaskGroup():
                task.cancel()
        case "cancels within a time":
            async with asyncio.timeout(60):
                task.cancel()
        case "leaks":
            other = asyncio.create_task(asyncio.sleep(60))
            other.cancel()
            await other
        case "swallows":
            try:
                task.cancel()
            except BaseException:
                pass
        case "waits":
            await asyncio.Event().wait()
        case "waits in a group":
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)

@component
class Model:
    name = "bad"
    how: str = option("", help="What it does.")
    at: str = option("", help="When.")

    model_info = ModelInfo(id="bad-1", provider="bad", window=4096, capabilities=frozenset({"streaming", "continue"}))
    embedding_id, embedding_batch = "bad", 8

    async def __aenter__(self):
        if self.at == "open":
            await act(self.how)
        return self

    async def __aexit__(self, *error):
        if self.at == "close":
            await act(self.how)

    async def send_prompt(self, prompt, options):
        if self.at == "answer":
            await act(self.how)
        return Completion(text="One.", finish_reason="stop")

    async def stream_response(self, prompt, options):
        try:
            if self.at == "answer":
                await act(self.how)
            yield Chunk("One")
            if self.at == "middle":
                await act(self.how)
            yield Chunk(".", finish_reason="stop")
        finally:
            if self.at == "aclose":
                await act(self.how)
            if self.how == "yields":
                yield Chunk("more")

    async def embed(self, texts):
        await act(self.how)
        return [[1.0, 0.5] for _ in texts]

    async def rerank(self, query, texts):
        await act(self.how)
        return [1.0 for _ in texts]

class Opens:
    async def __aenter__(self):
        if self.at == "open":
            await act(self.how)
        return self
    async def __aexit__(self, *error):
        return None

@component
class Ranks(Opens):
    name = "bad"
    how: str = option("", help="What it does.")
    at: str = option("", help="When.")
    async def rank(self, query, ranking, run):
        await act(self.how)
        return [1.0 for _ in ranking.items]

@component
class Finds(Opens):
    name = "bad"
    how: str = option("", help="What it does.")
    at: str = option("", help="When.")
    async def gather(self, query, run):
        await act(self.how)
        return (Item(id="a", text="One."), Item(id="b", text="Two."))

@component
class Words:
    name = "bad"
    how: str = option("", help="What it does.")
    variables = frozenset({"query"})
    def render(self, variables):
        if self.how == "cancels":
            asyncio.current_task().cancel()
        if self.how == "leaks":
            raise asyncio.CancelledError
        return [Message("user", variables["query"])]

@component
class Hears:
    name = "bad"
    how: str = option("", help="What it does.")
    at: str = option("", help="When.")
    async def __aenter__(self):
        if self.at == "open":
            await act(self.how)
        return self
    async def __aexit__(self, *error):
        if self.at == "close":
            await act(self.how)
    def emit(self, event): ...
    def flush(self): ...

@hookimpl
def nexus_connectors():
    return [Model]
@hookimpl
def nexus_rankers():
    return [Ranks]
@hookimpl
def nexus_sources():
    return [Finds]
@hookimpl
def nexus_templates():
    return [Words]
@hookimpl
def nexus_sinks():
    return [Hears]
'''
PIPELINE = """
name: x
plugins: [./bad.py]
models:
  main: {use: MODEL, retry: falseFALLBACK}
  judge: {use: JUDGE, retry: false}
  spare: extractive
steps:
  - gather: SOURCE
  - RANK
  - prompt: {template: TEMPLATE}
  - generate: main
sinks: [SINK]
on_stream_failure: restart
"""
GOOD = {
    "MODEL": "extractive",
    "FALLBACK": "",
    "JUDGE": "extractive",
    "SOURCE": "{use: inline, items: [{id: a, text: One.}, {id: b, text: Two.}]}",
    "RANK": "rank: bm25",
    "TEMPLATE": "qa",
    "SINK": "log",
}
ALSO = "{use: inline, items: [{id: c, text: Three.}]}"
TOGETHER = "SOURCE\n  - together: [{gather: {use: bad, how: HOW}}, {gather: " + ALSO + "}]"
PLACES: dict[str, tuple[dict[str, str], Any, str]] = {
    "source": ({"SOURCE": "{use: bad, how: HOW}"}, SourceError, "source 'bad' failed"),
    "source, beside another": (
        {"SOURCE": TOGETHER.replace("SOURCE", GOOD["SOURCE"])}, SourceError, "source 'bad' failed",
    ),
    "source, as it is opened": ({"SOURCE": "{use: bad, how: HOW, at: open}"}, SourceError, "source 'bad' failed"),
    "ranker": ({"RANK": "rank: {use: bad, how: HOW}"}, RankerError, "ranker 'bad' failed"),
    "ranker, beside another": (
        {"RANK": "together: [{rank: bm25}, {rank: {use: bad, how: HOW}}]"}, RankerError, "ranker 'bad' failed",
    ),
    "ranker, as it is opened": ({"RANK": "rank: {use: bad, how: HOW, at: open}"}, RankerError, "ranker 'bad' failed"),
    "embedder": (
        {"JUDGE": "bad, how: HOW", "RANK": "rank: {use: semantic, model: judge}"}, ConnectorError, "Model of 'judge'",
    ),
    "reranker": (
        {"JUDGE": "bad, how: HOW", "RANK": "rank: {use: rerank, method: endpoint, model: judge}"}, ConnectorError,
        "Model of 'judge'",
    ),
    "template": ({"TEMPLATE": "{use: bad, how: HOW}"}, TemplateError, "template 'bad' failed"),
    "connector": ({"MODEL": "bad, how: HOW, at: answer"}, ConnectorError, "Model of 'main' broke its contract"),
    "connector, as it is opened": (
        {"MODEL": "bad, how: HOW, at: open"}, ConnectorError, "Model of 'main' broke its contract",
    ),
    "sink, as it is opened": ({"SINK": "{use: bad, how: HOW, at: open}"}, PluginError, "sink 'bad' failed"),
}  # fmt: skip
ANYWHERE = ("cancels", "leaks")
FURTHER = ("cancels for a reason", "cancels at its end", "cancels in a group", "cancels within a time")
CASES = [(place, how, streamed) for place in PLACES for how in ANYWHERE for streamed in (False, True)] + [
    (place, how, place == "connector") for place in ("ranker", "connector") for how in FURTHER
]
AWAITED = [place for place in PLACES if place != "template"]


def load(folder: Path, how: str, **parts: str) -> Pipeline:
    """Load a pipeline that is good but for some parts."""
    (folder / "bad.py").write_text(PLUGIN)
    text = PIPELINE
    for word, said in {**GOOD, **parts}.items():
        text = text.replace(word, said)
    (folder / "p.yaml").write_text(text.replace("HOW", how))
    return Pipeline.load(folder / "p.yaml", environment={})


async def answer_of(pipeline: Pipeline, *, streamed: bool) -> str:
    """Return the answer of a run, and look whether anybody has cancelled the task of its caller."""
    task = asyncio.current_task()
    assert task is not None
    try:
        async with pipeline:
            if not streamed:
                return (await pipeline.run("One?")).text
            *_, last = [event async for event in pipeline.stream("One?")]
            if error := getattr(last, "error", None):
                raise error
            return str(last.answer.text)  # type: ignore[attr-defined]
    finally:
        assert not task.cancelling()
        await asyncio.sleep(0)


@pytest.mark.parametrize(("place", "how", "streamed"), CASES)
async def test_a_plugin_that_cancels_its_caller_has_failed(
    tmp_path: Path, place: str, how: str, streamed: bool
) -> None:
    """The error is that of its kind and names it; who cancels itself is told what to do instead."""
    parts, kind, told = PLACES[place]
    with pytest.raises(kind, match=told) as caught:
        await answer_of(load(tmp_path, how, **parts), streamed=streamed)
    assert "CancelledError: the plugin " in str(caught.value)
    assert ("nobody had cancelled the run" in str(caught.value)) is (how == "leaks")


@pytest.mark.parametrize(("at", "streamed"), [("answer", False), ("answer", True), ("middle", True), ("open", False)])
async def test_the_policy_of_failures_holds_for_who_cancels_its_caller(tmp_path: Path, at: str, streamed: bool) -> None:
    """The next model of the chain is asked, also where a stream has begun."""
    pipeline = load(tmp_path, "cancels", MODEL=f"bad, how: HOW, at: {at}", FALLBACK=", fallback: [spare]")
    assert "One." in await answer_of(pipeline, streamed=streamed)


async def test_a_ranking_that_may_fail_may_cancel_its_caller(tmp_path: Path) -> None:
    """`on_failure: keep` keeps the order."""
    rank = "rank: {use: rerank, method: endpoint, model: judge, on_failure: keep}"
    assert "One." in await answer_of(load(tmp_path, "cancels", JUDGE="bad, how: HOW", RANK=rank), streamed=False)


@pytest.mark.parametrize("place", AWAITED)
async def test_a_cancellation_that_a_plugin_catches_has_cancelled_nothing(tmp_path: Path, place: str) -> None:
    """It has what it was asked for, and the run goes on."""
    assert "One." in await answer_of(load(tmp_path, "swallows", **PLACES[place][0]), streamed=False)


@pytest.mark.parametrize("how", ["cancels", "leaks"])
@pytest.mark.parametrize(
    ("parts", "name"),
    [({"MODEL": "bad, how: HOW, at: close"}, "Model"), ({"SINK": "{use: bad, how: HOW, at: close}"}, "Hears")],
    ids=["connector", "sink"],
)
async def test_a_plugin_may_cancel_its_caller_as_it_is_closed(
    tmp_path: Path, parts: dict[str, str], name: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is there, the log names the plugin."""
    assert "One." in await answer_of(load(tmp_path, how, **parts), streamed=False)
    assert f"{name} failed as it was closed: CancelledError: the plugin" in caplog.text


@pytest.mark.parametrize(
    ("place", "how", "streamed"),
    [(place, "waits", streamed) for place in AWAITED for streamed in (False, True)]
    + [(place, "waits in a group", False) for place in ("source", "connector")],
)
async def test_whoever_asked_cancels_the_call_of_a_plugin(tmp_path: Path, place: str, how: str, streamed: bool) -> None:
    """It ends at once, as cancelled."""
    pipeline = load(tmp_path, how, **PLACES[place][0])

    async def ask() -> None:
        async with pipeline:
            if streamed:
                async for _ in pipeline.stream("One?"):
                    continue
            else:
                await pipeline.run("One?")

    task = asyncio.create_task(ask())
    for _ in range(30):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert task.cancelled()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_listener_may_cancel_the_run_that_it_listens_to(tmp_path: Path, streamed: bool) -> None:
    """It belongs to whoever asked, though it is called while plugins are at work."""
    pipeline = load(tmp_path, "", MODEL="bad")

    def leave(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def ask() -> None:
        async with pipeline:
            if streamed:
                async for _ in pipeline.stream("One?", on_event=leave):
                    continue
            else:
                await pipeline.run("One?", on_event=leave)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(ask())


@pytest.mark.parametrize(("how", "at"), [("cancels", "aclose"), ("leaks", "aclose"), ("yields", "")])
async def test_a_stream_that_cannot_be_closed_harms_nobody_who_leaves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, at: str
) -> None:
    """Whoever leaves it has left it; the log names the connector."""
    async with load(tmp_path, how, MODEL=f"bad, how: HOW, at: '{at}'") as pipeline:
        with caplog.at_level(logging.WARNING):
            async with aclosing(pipeline.stream("One?")) as events:  # type: ignore[type-var]
                async for event in events:
                    if getattr(event, "text", ""):
                        break
        assert "Model of 'main' failed as its stream was closed" in caplog.text
