"""The connector suite holds for protocols that begin otherwise than OpenAI's, and for models that demand more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, ClassVar

import pytest
from attrs import evolve
from nexus_openai.connector import OpenAI

from nexus_core import CallOptions, Chunk, Completion, FinishReason, InvalidRequestError, ModelInfo, Prompt, Secret
from nexus_core.testing import ConnectorContract, OpenAIDialect
from nexus_core.testing.contracts.calls import OPTIONS
from nexus_core.testing.dialect import Stream
from nexus_core.testing.upstream import event

pytestmark = pytest.mark.slow


class Ceremonious(OpenAIDialect):
    """Says much before its first text, and more between the last one and the end."""

    def stream(self, texts: Sequence[str], *, finish_reason: FinishReason = "stop") -> Stream:
        plain = super().stream(texts, finish_reason=finish_reason)
        before = [event({"type": name}) for name in ("message_start", "ping", "content_block_start")]
        after = [event({"type": name}) for name in ("content_block_stop", "ping", "ping")]
        said = plain.needed - 1
        pieces = (*before, *plain.pieces[:said], *after, *plain.pieces[said:])
        return Stream(pieces, needed=plain.needed + len(before) + len(after))


class Demanding:
    """A connector whose model refuses a request without `max_tokens`."""

    def __init__(self, url: str, key: str, **options: Any) -> None:
        self.inner = OpenAI(model="m", base_url=url, api_key=Secret(key), **options)

    @property
    def model_info(self) -> ModelInfo:
        return evolve(self.inner.model_info, requires=frozenset({"max_tokens"}))

    async def __aenter__(self) -> Any:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self.inner.__aexit__(*failure)

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        return await self.inner.send_prompt(prompt, _demanded(options))

    def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        return self.inner.stream_response(prompt, _demanded(options))


def _demanded(options: CallOptions) -> CallOptions:
    if options.max_tokens is None:
        raise InvalidRequestError("max_tokens: Field required", provider="demanding", model="m", request_sent=False)
    return options


class TestAnotherProtocol(ConnectorContract):
    """The whole suite, for a model that requires an option, by a protocol with a long beginning."""

    dialect: ClassVar[Any] = Ceremonious()

    def make(self, url: str) -> Any:
        return Demanding(url, self.canary)

    def make_impatient(self, url: str, seconds: float) -> Any:
        names = ("connect", "first_byte", "idle", "progress", "total", "stream")
        return Demanding(url, self.canary, **{f"{name}_timeout_s": seconds for name in names})


class Mute(OpenAIDialect):
    """Forgets what it is given to say."""

    def stream(self, texts: Sequence[str], *, finish_reason: FinishReason = "stop") -> Stream:
        return super().stream(["" for _ in texts], finish_reason=finish_reason)


class Wordless(OpenAIDialect):
    """The same in whole answers."""

    def answer(self, text: str, *, finish_reason: FinishReason = "stop") -> bytes:
        return super().answer("", finish_reason=finish_reason)


def suite(dialect: Any, connector: Any = Demanding) -> ConnectorContract:
    """Return a suite for a connector that speaks so."""

    class Suite(ConnectorContract):
        def make(self, url: str) -> Any:
            return connector(url, self.canary)

    Suite.dialect = dialect
    return Suite()


@pytest.mark.parametrize(("dialect", "part"), [(Mute(), "stream"), (Wordless(), "answer")], ids=["stream", "whole"])
@pytest.mark.parametrize(
    "test", ["the_dialect_says_its_texts", "stream_comes_as_it_is_sent", "one_request_for_each_call"]
)
def test_a_dialect_without_text_fails_at_once_with_a_sentence(dialect: Any, part: str, test: str) -> None:
    """Not after a minute, and not as if the connector were to blame."""
    with pytest.raises(AssertionError, match=f"the dialect's `{part}`"):
        getattr(suite(dialect), f"test_{test}")()


def test_a_requirement_that_is_no_option_is_told() -> None:
    """A name that nobody can set would make every call fail."""

    class Strange(Demanding):
        @property
        def model_info(self) -> ModelInfo:
            return evolve(self.inner.model_info, requires=frozenset({"maxTokens"}))

    with pytest.raises(AssertionError, match=r"requires names \['maxTokens'\]"):
        suite(OpenAIDialect(), Strange).test_required_options_reach_the_service()


def test_a_requirement_that_is_not_sent_is_found() -> None:
    """A connector that demands an option and drops it fails the test that is there for it."""

    class Forgets(Demanding):
        async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
            return await self.inner.send_prompt(prompt, evolve(options, max_tokens=None))

    with pytest.raises(AssertionError, match="max_tokens is required"):
        suite(OpenAIDialect(), Forgets).test_required_options_reach_the_service()
    assert OPTIONS["max_tokens"] == 17
