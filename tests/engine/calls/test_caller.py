"""Attempts: which target answers, what a failure does, and that every attempt leaves one record."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core import (
    CallOptions,
    InvalidRequestError,
    ModelInfo,
    NoAnswerError,
    PromptTooLongError,
    RateLimitError,
    ServerError,
    TruncatedError,
)
from nexus_core.config.policies import RetryPolicy
from nexus_core.contract.errors import ContextLengthError
from nexus_core.engine.calls.prompt_fitting import merge_options, reserve
from nexus_core.testing.fakes import FakeConnector

ONCE = RetryPolicy(attempts=1)
"""One attempt on each target."""


def test_complete_returns_the_first_answer_and_records_it(bench: Any, fake: Any) -> None:
    """A call that works makes one attempt."""
    tried = bench(fake("Because."), fake("Never asked."))
    answered = tried.complete()
    assert (answered.completion.text, answered.model.name) == ("Because.", "m0")
    assert tried.outcomes == [("m0", "ok")]
    assert tried.registry.usage()["m0"].prompt_tokens == 7


def test_complete_moves_on_after_a_retryable_error(bench: Any, fake: Any) -> None:
    """A rate limit is answered by the next target, and both attempts are recorded."""
    tried = bench(fake(RateLimitError("slow down", status=429)), fake("Because."), retry=ONCE)
    assert tried.complete().model.name == "m1"
    assert tried.outcomes == [("m0", "rate_limit"), ("m1", "ok")]


def test_complete_stops_at_an_error_that_lies_in_the_request(bench: Any, fake: Any) -> None:
    """An invalid request would fail again, so nobody else is bothered with it."""
    tried = bench(fake(InvalidRequestError("no")), fake("Because."))
    with pytest.raises(InvalidRequestError):
        tried.complete()
    assert tried.outcomes == [("m0", "invalid_request")]


def test_a_chain_that_fails_as_a_whole_says_what_each_model_said(bench: Any, fake: Any) -> None:
    """The last error is not the only one that counts."""
    tried = bench(fake(RateLimitError("slow down")), fake(ServerError("broken")), retry=ONCE)
    with pytest.raises(NoAnswerError, match="m0: slow down; m1: broken") as caught:
        tried.complete()
    assert [type(error) for error in caught.value.errors] == [RateLimitError, ServerError]


def test_a_single_target_raises_its_own_error(bench: Any, fake: Any) -> None:
    """Without a chain there is nothing to sum up."""
    with pytest.raises(ServerError, match="broken"):
        bench(fake(ServerError("broken")), retry=ONCE).complete()


def test_after_context_length_only_a_larger_window_is_tried(bench: Any, fake: Any) -> None:
    """A target that is no larger would refuse the prompt too."""
    tried = bench(fake(ContextLengthError("too long")), fake("small", window=4096), fake("Because.", window=8192))
    assert tried.complete().model.name == "m2"
    assert [model for model, _ in tried.outcomes] == ["m0", "m2"]


def test_a_prompt_too_long_for_one_window_goes_to_a_larger_one_without_an_attempt(bench: Any, fake: Any) -> None:
    """What does not fit is not sent."""
    tried = bench(fake("never", window=8), fake("Because.", window=4096))
    assert tried.complete().model.name == "m1"
    assert tried.outcomes == [("m1", "ok")]


def test_a_prompt_too_long_for_every_window_is_an_error(bench: Any, fake: Any) -> None:
    """The question alone may be too long."""
    with pytest.raises(PromptTooLongError):
        bench(fake("never", window=8)).complete()


def test_a_connector_that_raises_something_else_has_broken_its_contract(bench: Any, fake: Any) -> None:
    """A bug in a plugin becomes an error of ours that names the model, and the next target may answer."""

    class Broken(FakeConnector):
        async def send_prompt(self, prompt, options):  # type: ignore[no-untyped-def]
            raise KeyError("choices")

    tried = bench(Broken(), fake("Because."))
    assert tried.complete().model.name == "m1"
    assert tried.outcomes[0] == ("m0", "connector")


def test_stream_yields_the_text_and_then_what_was_answered(bench: Any, fake: Any) -> None:
    """The parts add up to the answer."""
    tried = bench(fake("Because it is so."))
    text, answered = tried.stream()
    assert answered is not None
    assert (text, answered.completion.text) == ("Because it is so.", "Because it is so.")
    assert tried.outcomes == [("m0", "ok")]


def test_stream_moves_on_before_the_first_text(bench: Any, fake: Any) -> None:
    """Nobody has seen anything yet, so another target may answer."""
    tried = bench(fake(ServerError("broken")), fake("Because."), retry=ONCE)
    text, answered = tried.stream()
    assert (text, answered is not None) == ("Because.", True)
    assert tried.outcomes == [("m0", "server_error"), ("m1", "ok")]


def test_stream_never_moves_on_after_the_first_text(bench: Any, fake: Any) -> None:
    """Half an answer is never continued by somebody else in silence."""
    tried = bench(fake(("Because it", ServerError("broken"))), fake("Never."), retry=ONCE)
    with pytest.raises(ServerError):
        tried.stream()
    assert tried.outcomes == [("m0", "server_error")]


def test_a_stream_without_a_finish_reason_is_truncated(bench: Any, fake: Any) -> None:
    """The end of the data is not the end of the answer."""

    class Cut(FakeConnector):
        async def stream_response(self, prompt, options):  # type: ignore[no-untyped-def]
            async for chunk in super().stream_response(prompt, options):
                if chunk.finish_reason is None:
                    yield chunk

    tried = bench(Cut(replies=("Because it is so.",)), retry=ONCE)
    with pytest.raises(TruncatedError, match="without a finish reason"):
        tried.stream()
    assert tried.outcomes == [("m0", "truncated")]


def test_leaving_a_stream_early_closes_it_and_records_it_once(bench: Any, fake: Any) -> None:
    """The upstream is closed at once, and the attempt counts as cancelled, not failed."""
    connector = fake("one two three four")
    tried = bench(connector)
    tried.leave_after(1)
    assert (connector.closed, tried.outcomes) == (1, [("m0", "cancelled")])
    assert tried.registry.usage()["m0"].failures == 0


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
