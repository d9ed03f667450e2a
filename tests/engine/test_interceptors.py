"""An interceptor sees each upstream request of a pipeline, and may answer in the connector's place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Chunk, Completion, Delta, Embedder, ModelInfo, Pipeline, Reranker, ServerError
from nexus_core.engine.interceptors import ConnectorRequest, Interceptor, intercepted

PLUGIN = '''
from nexus_core import *

@component
class Service:
    """Answers, fails, embeds."""

    fails: bool = option(False, help="Each request fails.")

    @property
    def model_info(self):
        return ModelInfo(id="service-1", provider="test", window=4000)

    async def __aenter__(self):
        opened.append("in")
        return self

    async def __aexit__(self, *failure):
        opened.append("out")

    async def send_prompt(self, prompt, options):
        if self.fails:
            raise ServerError("down", provider="test", model="service-1", status=500)
        return Completion(text="whole", finish_reason="stop")

    async def stream_response(self, prompt, options):
        try:
            yield Chunk(text="one ")
            yield Chunk(text="two", finish_reason="stop")
        finally:
            opened.append("stream closed")

    async def rerank(self, query, texts):
        return [float(len(text)) for text in texts]

opened = []

@hookimpl
def nexus_connectors():
    return [Service]
'''
PIPELINE = """
name: x
plugins: [./service.py]
models:
  main: {use: service, fails: true, retry: {attempts: 1}, fallback: [spare]}
  spare: {use: service}
steps:
  - gather: {use: inline, items: [{id: a, text: One.}, {id: b, text: Two and more.}]}
  - rank: {use: rerank, method: endpoint, model: {use: service}}
  - prompt: qa
  - generate: main
"""


class Watcher(Interceptor):
    """Notes the requests and how they ended."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    async def call(self, request: ConnectorRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        """Note a whole one."""
        try:
            result = await send()
        except ServerError as error:
            self.seen.append((request.model, request.method, error.kind))
            raise
        self.seen.append((request.model, request.method, "ok"))
        return result

    async def stream(
        self, request: ConnectorRequest, send: Callable[[], AsyncIterator[Chunk]]
    ) -> AsyncGenerator[Chunk, None]:
        """Note a stream as it begins."""
        self.seen.append((request.model, request.method, "begun"))
        async with aclosing(super().stream(request, send)) as chunks:
            async for chunk in chunks:
                yield chunk


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return a pipeline with a model, its fallback and a reranker of its own."""
    (tmp_path / "service.py").write_text(PLUGIN)
    (tmp_path / "x.yaml").write_text(PIPELINE)
    return tmp_path / "x.yaml"


async def test_every_attempt_of_every_connector_is_seen(written: Path) -> None:
    """Retries, fallbacks and what components ask pass it, each as a request of its own, in order."""
    watcher = Watcher()
    async with Pipeline.load(written, environment={}, interceptor=watcher) as pipeline:
        answer = await pipeline.run("What?")
    assert answer.text == "whole"
    rows = [(row.model, row.outcome) for row in answer.attempts]
    assert [(model, outcome) for model, _, outcome in watcher.seen] == rows
    assert [method for _, method, _ in watcher.seen] == ["rerank"] + ["send_prompt"] * (len(rows) - 1)


async def test_an_interceptor_answers_in_the_connectors_place(written: Path) -> None:
    """What it returns is the answer: nothing is sent."""

    class Instead(Interceptor):
        async def call(self, request: ConnectorRequest, send: Callable[[], Awaitable[Any]]) -> Any:
            if request.method == "rerank":
                return [1.0 for _ in request.texts]
            assert request.prompt is not None
            return Completion(text=f"for {request.model}", finish_reason="stop")

    async with Pipeline.load(written, environment={}, interceptor=Instead()) as pipeline:
        answer = await pipeline.run("What?")
    assert (answer.text, [row.outcome for row in answer.attempts]) == ("for main", ["ok", "ok"])


async def test_an_interceptor_may_keep_connectors_closed(written: Path) -> None:
    """Whoever answers in their place needs no key of theirs; what was not opened is not closed either."""

    class Closed(Interceptor):
        async def open(self, model: str, info: ModelInfo, enter: Callable[[], Awaitable[object]]) -> None:
            if model == "spare":
                await enter()

    pipeline = Pipeline.load(written, environment={}, interceptor=Closed())
    opened: Any = pipeline.models.get("spare").connector.send_prompt
    log = opened.__self__._connector.send_prompt.__func__.__globals__["opened"]
    async with pipeline:
        assert (await pipeline.run("What?")).model == "spare"
    assert log == ["in", "out"]


async def test_a_stream_that_is_left_is_closed_at_its_connector(written: Path) -> None:
    """Leaving early closes the upstream through the interceptor, and closing the pipeline closes the connectors."""
    pipeline = Pipeline.load(written, environment={}, interceptor=(watcher := Watcher()))
    opened: Any = pipeline.models.get("spare").connector.send_prompt  # its module holds what happened
    log = opened.__self__._connector.send_prompt.__func__.__globals__["opened"]
    async with pipeline, aclosing(pipeline.stream("What?", model="spare")) as events:  # type: ignore[type-var]
        async for event in events:
            if isinstance(event, Delta):
                break
    assert ("spare", "stream_response", "begun") in watcher.seen
    assert log.count("stream closed") == 1
    assert log.count("in") == log.count("out") == 2


def test_only_what_a_connector_can_do_is_offered(written: Path) -> None:
    """The connector in its place reranks where the other one does, and has its information."""
    pipeline = Pipeline.load(written, environment={})
    connector = pipeline.models.get("spare").connector
    found = intercepted("spare", connector, Interceptor())
    assert isinstance(found, Reranker)
    assert not isinstance(found, Embedder)
    assert found.model_info == connector.model_info
    assert type(found).__name__ == "Service"
