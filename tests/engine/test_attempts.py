"""Attempts: which target answers, what a failure does, and that every attempt leaves one record."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from nexus_core import (
    AttemptFinished,
    CallOptions,
    ConnectorError,
    Event,
    InvalidRequestError,
    ModelInfo,
    NoAnswerError,
    PromptTooLongError,
    RateLimitError,
    ServerError,
    TruncatedError,
)
from nexus_core.contract.errors import ContextLengthError
from nexus_core.contract.ranking import Ranking
from nexus_core.engine.attempts import Answered, Attempts, Call, merge_options, reserve
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing import Draft
from nexus_core.engine.resources import Resources
from nexus_core.engine.steps import BareQuery
from nexus_core.testing.fakes import FakeConnector


class Bench:
    """A chain of fakes, and what came of calling it."""

    def __init__(self, *connectors: FakeConnector) -> None:
        self.models = tuple(Model(name=f"m{n}", connector=c, info=c.model_info) for n, c in enumerate(connectors))
        self.registry = ModelRegistry(self.models)
        self.attempts = Attempts(self.registry, Resources())
        self.events: list[Event] = []
        draft = Draft(template=BareQuery(), ranking=Ranking(()), query="Why?")
        self.call = Call(id="c", run_id="r", draft=draft, chain=self.models)

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(e.model, e.outcome) for e in self.events if isinstance(e, AttemptFinished)]

    async def complete(self) -> Answered:
        return await self.attempts.complete(self.call, self.events.append)

    async def stream(self) -> tuple[str, Answered | None]:
        text, answered = "", None
        async for part in self.attempts.stream(self.call, self.events.append):
            if isinstance(part, str):
                text += part
            else:
                answered = part
        return text, answered


def fake(*replies: str | ConnectorError | tuple[str, ConnectorError], window: int = 4096) -> FakeConnector:
    return FakeConnector(replies=replies, model_info=ModelInfo(id="fake", provider="fake", window=window))


async def test_complete_returns_the_first_answer_and_records_it() -> None:
    """A call that works makes one attempt."""
    bench = Bench(fake("Because."), fake("Never asked."))
    answered = await bench.complete()
    assert (answered.completion.text, answered.model.name) == ("Because.", "m0")
    assert bench.outcomes == [("m0", "ok")]
    assert bench.registry.usage()["m0"].prompt_tokens == 7


async def test_complete_moves_on_after_a_retryable_error() -> None:
    """A rate limit is answered by the next target, and both attempts are recorded."""
    bench = Bench(fake(RateLimitError("slow down", status=429)), fake("Because."))
    assert (await bench.complete()).model.name == "m1"
    assert bench.outcomes == [("m0", "rate_limit"), ("m1", "ok")]


async def test_complete_stops_at_an_error_that_lies_in_the_request() -> None:
    """An invalid request would fail again, so nobody else is bothered with it."""
    bench = Bench(fake(InvalidRequestError("no")), fake("Because."))
    with pytest.raises(InvalidRequestError):
        await bench.complete()
    assert bench.outcomes == [("m0", "invalid_request")]


async def test_a_chain_that_fails_as_a_whole_says_what_each_model_said() -> None:
    """The last error is not the only one that counts."""
    bench = Bench(fake(RateLimitError("slow down")), fake(ServerError("broken")))
    with pytest.raises(NoAnswerError, match="m0: slow down; m1: broken") as caught:
        await bench.complete()
    assert [type(error) for error in caught.value.errors] == [RateLimitError, ServerError]


async def test_a_single_target_raises_its_own_error() -> None:
    """Without a chain there is nothing to sum up."""
    with pytest.raises(ServerError, match="broken"):
        await Bench(fake(ServerError("broken"))).complete()


async def test_after_context_length_only_a_larger_window_is_tried() -> None:
    """A target that is no larger would refuse the prompt too."""
    bench = Bench(fake(ContextLengthError("too long")), fake("small", window=4096), fake("Because.", window=8192))
    assert (await bench.complete()).model.name == "m2"
    assert [model for model, _ in bench.outcomes] == ["m0", "m2"]


async def test_a_prompt_too_long_for_one_window_goes_to_a_larger_one_without_an_attempt() -> None:
    """What does not fit is not sent."""
    bench = Bench(fake("never", window=8), fake("Because.", window=4096))
    assert (await bench.complete()).model.name == "m1"
    assert bench.outcomes == [("m1", "ok")]


async def test_a_prompt_too_long_for_every_window_is_an_error() -> None:
    """The question alone may be too long."""
    with pytest.raises(PromptTooLongError):
        await Bench(fake("never", window=8)).complete()


async def test_a_connector_that_raises_something_else_has_broken_its_contract() -> None:
    """A bug in a plugin becomes an error of ours that names the model, and the next target may answer."""

    class Broken(FakeConnector):
        async def send_prompt(self, prompt, options):  # type: ignore[no-untyped-def]
            raise KeyError("choices")

    bench = Bench(Broken(), fake("Because."))
    assert (await bench.complete()).model.name == "m1"
    assert bench.outcomes[0] == ("m0", "connector")


async def test_stream_yields_the_text_and_then_what_was_answered() -> None:
    """The parts add up to the answer."""
    bench = Bench(fake("Because it is so."))
    text, answered = await bench.stream()
    assert answered is not None
    assert (text, answered.completion.text) == ("Because it is so.", "Because it is so.")
    assert bench.outcomes == [("m0", "ok")]


async def test_stream_moves_on_before_the_first_text() -> None:
    """Nobody has seen anything yet, so another target may answer."""
    bench = Bench(fake(ServerError("broken")), fake("Because."))
    text, answered = await bench.stream()
    assert (text, answered is not None) == ("Because.", True)
    assert bench.outcomes == [("m0", "server_error"), ("m1", "ok")]


async def test_stream_never_moves_on_after_the_first_text() -> None:
    """Half an answer is never continued by somebody else in silence."""
    bench = Bench(fake(("Because it", ServerError("broken"))), fake("Never."))
    with pytest.raises(ServerError):
        await bench.stream()
    assert bench.outcomes == [("m0", "server_error")]


async def test_a_stream_without_a_finish_reason_is_truncated() -> None:
    """The end of the data is not the end of the answer."""

    class Cut(FakeConnector):
        async def stream_response(self, prompt, options):  # type: ignore[no-untyped-def]
            async for chunk in super().stream_response(prompt, options):
                if chunk.finish_reason is None:
                    yield chunk

    bench = Bench(Cut(replies=("Because it is so.",)))
    with pytest.raises(TruncatedError, match="without a finish reason"):
        await bench.stream()
    assert bench.outcomes == [("m0", "truncated")]


async def test_leaving_a_stream_early_closes_it_and_records_it_once() -> None:
    """The upstream is closed at once, and the attempt counts as cancelled, not failed."""
    connector = fake("one two three four")
    bench = Bench(connector)
    async with aclosing(bench.attempts.stream(bench.call, bench.events.append)) as parts:  # type: ignore[type-var]
        async for _ in parts:
            break
    assert (connector.closed, bench.outcomes) == (1, [("m0", "cancelled")])
    assert bench.registry.usage()["m0"].failures == 0


def test_merge_options_lets_the_nearer_one_win() -> None:
    """What a step sets stands over the model's options; what it leaves out stays."""
    under = CallOptions(temperature=0.0, max_tokens=10, extra={"a": 1, "b": 1})
    merged = merge_options(under, CallOptions(max_tokens=20, extra={"b": 2}))
    assert (merged.temperature, merged.max_tokens, merged.extra) == (0.0, 20, {"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("window", "max_output", "max_tokens", "expected"),
    [
        pytest.param(100_000, None, 300, 300, id="max-tokens"),
        pytest.param(100_000, None, None, 1024, id="default"),
        pytest.param(2048, None, None, 512, id="quarter-of-a-small-window"),
        pytest.param(100_000, 256, None, 256, id="max-output"),
    ],
)
def test_reserve_is_max_tokens_or_the_declared_default(
    window: int, max_output: int | None, max_tokens: int | None, expected: int
) -> None:
    """The answer's room is never left to chance."""
    info = ModelInfo(id="m", provider="p", window=window, max_output=max_output)
    assert reserve(info, CallOptions(max_tokens=max_tokens)) == expected
