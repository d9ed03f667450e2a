"""The suites of parts, vectors and relevances can fail: each fault fails the test that is there for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve
from nexus_openai.connector import OpenAI

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ConnectorError,
    Message,
    ModelInfo,
    Prompt,
    Secret,
    TruncatedError,
)
from nexus_core.testing import ConnectorContract, EmbedderContract, OpenAIDialect

pytestmark = pytest.mark.slow


class TakesAll:
    """Says that its model takes everything, and sends what it sends."""

    def __init__(self, inner: OpenAI) -> None:
        self.inner = inner

    @property
    def model_info(self) -> ModelInfo:
        return self.inner.model_info

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        async with self.inner:
            return await self.inner.send_prompt(*self.changed(prompt, options))

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> Any:
        async with self.inner:
            async for chunk in self.inner.stream_response(*self.changed(prompt, options)):
                yield chunk

    def changed(self, prompt: Prompt, options: CallOptions) -> tuple[Prompt, CallOptions]:
        return prompt, options


class SendsTextOnly(TakesAll):
    def changed(self, prompt: Prompt, options: CallOptions) -> tuple[Prompt, CallOptions]:
        said = tuple(Message(message.role, message.text) for message in prompt.messages if message.role != "tool")
        return evolve(prompt, messages=said), CallOptions()


def suite(wrong: Callable[[OpenAI], Any]) -> ConnectorContract:
    class TestWrong(ConnectorContract):
        dialect = OpenAIDialect()

        def make(self, url: str) -> Any:
            takes: Any = ("tools", "vision", "files", "schema")
            key = Secret(self.canary)
            return wrong(OpenAI(model="m", base_url=url, api_key=key, capabilities=takes, file_tokens=1000))

    return TestWrong()


TESTS = [name for name in dir(ConnectorContract) if name.endswith("_reach_the_service") or "schema_reaches" in name]
PARTS = [name for name in TESTS if any(word in name for word in ("images", "files", "tools", "schema"))]


@pytest.mark.parametrize("name", PARTS)
def test_connector_that_sends_text_only_fails(name: str) -> None:
    """Where its model takes more; one that sends all passes."""
    assert len(PARTS) == 6
    getattr(suite(TakesAll), name)()
    with pytest.raises(AssertionError, match="is not in the request"):
        getattr(suite(SendsTextOnly), name)()


class LosesCalls(TakesAll):
    """Says nothing of the calls in whole answers."""

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        return evolve(await super().send_prompt(prompt, options), tool_calls=())


class EndsCalls(TakesAll):
    """Takes the end of a stream for the end of its call."""

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> Any:
        try:
            async for chunk in super().stream_response(prompt, options):
                yield chunk
        except TruncatedError:
            yield Chunk(finish_reason="tool_calls")


@pytest.mark.parametrize(
    ("wrong", "said"), [(LosesCalls, "calls nothing"), (EndsCalls, "a call passes for whole")], ids=["lost", "cut"]
)
def test_connector_that_loses_calls_fails(wrong: Any, said: str) -> None:
    """Or takes half of one for whole; one that reads them passes."""
    suite(TakesAll).test_calls_of_tools_are_read()
    with pytest.raises(AssertionError, match=said):
        suite(wrong).test_calls_of_tools_are_read()


def vectors(change: Callable[[Sequence[Any]], Sequence[Any]]) -> EmbedderContract:
    class Changed(OpenAI):
        async def embed(self, texts: Sequence[str]) -> Any:
            try:
                return change(await super().embed(texts))
            except ConnectorError:
                return [[0.0]] * len(texts)

    class TestWrongVectors(EmbedderContract):
        def make(self, url: str) -> Any:
            return Changed(model="m", base_url=url, api_key=Secret(self.canary))

        def answer(self, vectors: Sequence[Sequence[float]]) -> bytes:
            return json.dumps({"data": [{"index": n, "embedding": v} for n, v in enumerate(vectors)]}).encode()

    return TestWrongVectors()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found[:-1], "have 3 vectors"),
        (lambda found: found[::-1], "the same text has two vectors"),
        (lambda found: [[float("nan")]] * len(found), "not finite"),
        (lambda found: [[1.0]] * len(found), "not those of the service"),
    ],
    ids=["fewer", "order", "nan", "other"],
)
def test_wrong_vectors_fail(change: Any, said: str) -> None:
    """Each fault by its name."""
    with pytest.raises((AssertionError, ValueError), match=said):
        vectors(change).test_each_text_has_its_vector()


def test_errors_that_are_swallowed_fail() -> None:
    """A refusal that becomes vectors is found."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        vectors(lambda found: found).test_refusal_is_a_connector_error(500)
