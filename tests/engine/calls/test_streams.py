"""Streams: what may follow a failure before the first content, and what after it."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import Any

import pytest

from nexus_core import (
    AttemptFinished,
    Chunk,
    Completion,
    ConnectorError,
    NoAnswerError,
    ServerError,
    StreamRestarted,
    ToolCall,
    ToolCallDelta,
    ToolCallIncompleteError,
    TruncatedError,
    Waiting,
)
from nexus_core.config.policies import BreakerPolicy, CallPolicy, RateLimitPolicy, RetryPolicy
from nexus_core.contract.ranking import Ranking
from nexus_core.engine.calls.call import Call
from nexus_core.engine.calls.caller import Caller, CallResult
from nexus_core.engine.calls.rate_limiter import Admission
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing.packer import Draft
from nexus_core.engine.steps import BareQuery

ONCE = RetryPolicy(attempts=1)
END = Chunk(finish_reason="stop")
RESTART = CallPolicy(on_stream_failure="restart")
CONTINUE = CallPolicy(on_stream_failure="continue")


def restarts(tried: Any) -> list[tuple[str, str]]:
    return [(event.model, event.kind) for event in tried.events if isinstance(event, StreamRestarted)]


def test_a_role_without_text_is_no_content(bench: Any, fake: Any) -> None:
    """Fault 59: a first chunk that says nothing binds nobody, and is not the first content either."""
    tried = bench(fake([Chunk(), Chunk(model="m"), ServerError("no")], ["never"]), fake("Because."), retry=ONCE)
    text, answered = tried.stream()
    assert (text, answered.model.name) == ("Because.", "m1")
    assert tried.rows[0].first_content_s is None


@pytest.mark.parametrize("after", range(4))
def test_nothing_is_repeated_after_the_first_text(bench: Any, fake: Any, after: int) -> None:
    """Fault 70: another attempt if nothing was shown, an error if anything was, and never the same words twice."""
    words = [Chunk(word) for word in ("Be", "cause", " it is")][:after]
    tried = bench(fake([*words, TruncatedError("cut")], "Because."), fake("Because."))
    if after:
        with pytest.raises(TruncatedError):
            tried.stream()
        assert tried.shown == "".join(chunk.text for chunk in words)
    else:
        assert tried.stream()[0] == "Because."
    assert sum(tried.requests) == len(tried.rows) == 1 + (not after)


def test_a_fallback_that_fails_before_the_first_text_is_a_plain_error(bench: Any, fake: Any) -> None:
    """Fault 72: nothing was shown, so nothing has to be taken back."""
    with pytest.raises(NoAnswerError):
        bench(fake(ServerError("no")), fake(ServerError("no")), retry=ONCE).stream()


@pytest.mark.parametrize("chunk", [Chunk(reasoning="Hm."), Chunk(tool_calls=(ToolCallDelta(index=0, name="f"),))])
def test_reasoning_and_tool_calls_are_content(bench: Any, fake: Any, chunk: Chunk) -> None:
    """Fault 60: a reader who has seen the model think has seen something."""
    tried = bench(fake([chunk, ServerError("no")]), fake("Because."))
    with pytest.raises(ServerError):
        tried.stream()
    assert tried.requests == [1, 0]


def test_reasoning_stands_beside_the_answer(bench: Any, fake: Any) -> None:
    """Fault 60: it is no part of the text."""
    tried = bench(fake([Chunk(reasoning="Hm. "), Chunk("Be", reasoning="So."), Chunk("cause."), END]))
    text, answered = tried.stream()
    assert text == answered.completion.text == "Because."
    assert answered.completion.reasoning == "Hm. So."


def test_tool_calls_are_put_together_by_their_index(bench: Any, fake: Any) -> None:
    """Fault 61: parts of several calls may come in turn; an id that is missing is made up."""
    parts = [
        ToolCallDelta(index=1, name="g", arguments='{"b"'),
        ToolCallDelta(index=0, id="x", name="f", arguments="{"),
        ToolCallDelta(index=1, arguments=": 2}"),
        ToolCallDelta(index=0, arguments="}"),
        ToolCallDelta(index=2, id="z", name="h"),
    ]
    chunks = [Chunk(tool_calls=(part,)) for part in parts]
    _, answered = bench(fake([*chunks, Chunk(finish_reason="tool_calls")])).stream()
    assert answered.completion.tool_calls == (
        ToolCall(id="x", name="f", arguments="{}"),
        ToolCall(id="call_1", name="g", arguments='{"b": 2}'),
        ToolCall(id="z", name="h", arguments=""),
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param('{"a": 1', "tool_calls", id="cut"),
        pytest.param("", "length", id="none-and-at-the-end-of-its-length"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_half_a_tool_call_is_no_answer(bench: Any, fake: Any, arguments: str, reason: Any, streamed: bool) -> None:
    """Fault 62: it must never be run, whatever the finish reason says."""
    delta = ToolCallDelta(index=0, id="x", name="f", arguments=arguments)
    whole = Completion(text="", finish_reason=reason, tool_calls=(ToolCall(id="x", name="f", arguments=arguments),))
    tried = bench(fake([Chunk(tool_calls=(delta,)), Chunk(finish_reason=reason)] if streamed else whole))
    with pytest.raises(ToolCallIncompleteError, match="'m0' ends in the middle of its arguments"):
        tried.stream() if streamed else tried.complete()
    assert {outcome for _, outcome in tried.outcomes} == {"tool_call_incomplete"}
    assert tried.rows[0].usage_source == "estimated"


def test_restart_tells_the_reader_and_begins_anew(bench: Any, fake: Any) -> None:
    """What was shown is void, at the moment when something comes in its place."""
    tried = bench(fake(("Because it", TruncatedError("cut"))), fake("It is so."), calls=RESTART)
    text, answered = tried.stream()
    assert text == answered.completion.text == "It is so."
    assert restarts(tried) == [("m0", "truncated")]
    assert tried.outcomes == [("m0", "truncated"), ("m1", "ok")]


def test_restart_keeps_the_partial_text_where_nothing_comes_in_its_place(bench: Any, fake: Any) -> None:
    """A reader who is left with half an answer is not left with nothing."""
    tried = bench(fake(("Because it", TruncatedError("cut"))), fake(ServerError("no")), calls=RESTART)
    with pytest.raises(NoAnswerError):
        tried.stream()
    assert (tried.shown, restarts(tried)) == ("Because it", [])


def test_restart_of_a_restart(bench: Any, fake: Any) -> None:
    """Each target that breaks off is followed by the next; the last one by an error."""
    cut = TruncatedError("cut")
    tried = bench(fake(("One", cut)), fake(("Two", cut)), fake("Three"), calls=RESTART)
    assert tried.stream()[0] == "Three"
    assert restarts(tried) == [("m0", "truncated"), ("m1", "truncated")]
    tried = bench(fake(("One", cut)), fake(("Two", cut)), calls=RESTART)
    with pytest.raises(TruncatedError):
        tried.stream()
    assert tried.shown == "Two"


def test_restart_is_bound_by_the_caps_of_the_call(bench: Any, fake: Any) -> None:
    """No policy of streams makes more requests than a call may make."""
    cut = TruncatedError("cut")
    calls = CallPolicy(on_stream_failure="restart", attempts=2)
    tried = bench(*(fake(("One", cut)) for _ in range(4)), calls=calls)
    with pytest.raises(TruncatedError):
        tried.stream()
    assert tried.requests == [1, 1, 0, 0]


def test_continue_hands_the_partial_text_to_a_target_that_can_go_on(bench: Any, fake: Any) -> None:
    """It stands as the beginning of the answer at the end of the prompt, and what comes is added to it."""
    tried = bench(
        fake(("Because it ", TruncatedError("cut"))), fake("never"), fake("is so.", can=("continue",)), calls=CONTINUE
    )
    text, answered = tried.stream()
    assert text == answered.completion.text == "Because it is so."
    last = tried.connectors[2].prompts[0].messages[-1]
    assert (last.role, last.content, tried.requests) == ("assistant", "Because it ", [1, 0, 1])
    assert not restarts(tried)


def test_continue_twice_adds_up(bench: Any, fake: Any) -> None:
    """The third target gets what the first two have written."""
    cut = TruncatedError("cut")
    can = ("continue",)
    tried = bench(fake(("Because ", cut)), fake(("it ", cut), can=can), fake("is so.", can=can), calls=CONTINUE)
    assert tried.stream()[0] == "Because it is so."
    assert tried.connectors[2].prompts[0].messages[-1].content == "Because it "


def test_a_continued_prompt_fits_the_window(bench: Any, fake: Any) -> None:
    """The partial text is part of what is packed: where it does not fit, the target cannot go on."""
    tried = bench(
        fake(("Because it is so and not otherwise. " * 20, TruncatedError("cut"))),
        fake("never", window=80, can=("continue",)),
        fake("Done.", can=("continue",)),
        calls=CONTINUE,
    )
    assert tried.stream()[0].endswith("otherwise. Done.")
    assert tried.requests == [1, 0, 1]


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param([Chunk(reasoning="Hm.")], id="nothing-but-reasoning"),
        pytest.param([Chunk("So: "), Chunk(tool_calls=(ToolCallDelta(index=0, name="f"),))], id="a-tool-call"),
    ],
)
def test_what_cannot_be_continued_fails(bench: Any, fake: Any, shown: list[Chunk]) -> None:
    """Only text can stand at the end of a prompt."""
    tried = bench(fake([*shown, TruncatedError("cut")]), fake("no", can=("continue",)), calls=CONTINUE)
    with pytest.raises(TruncatedError):
        tried.stream()
    assert tried.requests == [1, 0]


def test_continue_without_a_target_that_can_fails(bench: Any, fake: Any) -> None:
    """Nobody goes on in silence who would begin anew."""
    tried = bench(fake(("Because it ", ServerError("no"))), fake("never"), calls=CONTINUE)
    with pytest.raises(ServerError):
        tried.stream()
    assert (tried.shown, tried.requests) == ("Because it ", [1, 0])


@pytest.mark.parametrize("calls", [CallPolicy(), RESTART, CONTINUE], ids=["fail", "restart", "continue"])
def test_an_error_that_lies_in_the_request_ends_a_stream(bench: Any, fake: Any, calls: CallPolicy) -> None:
    """What would fail again is not begun again."""
    from nexus_core import ResponseTooLargeError

    tried = bench(fake(("Because it ", ResponseTooLargeError("no"))), fake("never", can=("continue",)), calls=calls)
    with pytest.raises(ConnectorError):
        tried.stream()
    assert tried.requests == [1, 0]


@pytest.mark.parametrize(
    ("first", "model", "why"),
    [
        ("fine", {"limits": RateLimitPolicy(requests_per_minute=6, queue_wait_s=20.0)}, "queued"),
        (ServerError("no"), {"retry": RetryPolicy(attempts=2)}, "server_error"),
        (ServerError("no"), {"retry": ONCE, "breaker": BreakerPolicy(failures=1, open_s=0.5)}, "overloaded"),
    ],
    ids=["queue", "retry", "breaker"],
)
def test_reader_hears_of_a_wait_before_it_is_made(bench: Any, fake: Any, first: Any, model: Any, why: str) -> None:
    """A stream that waits says so when it begins to, not when it goes on."""
    tried = bench(fake(first, "Because."), **model)
    heard: list[tuple[str, float]] = []

    async def read() -> None:
        async with aclosing(tried.attempts.stream(tried.call, tried.see)) as parts:
            async for _ in parts:
                waits = [event for event in tried.events if isinstance(event, Waiting)]
                heard.extend((event.why, tried.loop.time() - event.time) for event in waits[len(heard) :])

    if why != "server_error":
        with suppress(ServerError):
            tried.run(read())
    tried.run(read())
    assert heard == [(why, 0.0)]
    assert tried.seconds > 0
    tried.assert_nothing_is_left()


async def test_place_that_is_free_before_the_wait_is_taken(fake: Any) -> None:
    """By the time that the reader comes back for it; the retry after it does not wait again."""
    connector = fake(ServerError("no"), "Because.")
    retry, limits = RetryPolicy(attempts=2, first_wait_s=0.0), RateLimitPolicy(concurrency=1)
    model = Model(name="m", connector=connector, info=connector.model_info, retry=retry, limits=limits)
    attempts = Caller(ModelRegistry([model]), ComponentLifecycle())
    limiter = attempts._setting.targets.of(model).limiter
    assert limiter is not None
    events: list[Any] = []
    draft = Draft(template=BareQuery(), ranking=Ranking(()), query="Why?")
    call = Call(id="c", run_id="r", draft=draft, chain=(model,))
    held = limiter.try_enter(1)
    async with aclosing(attempts.stream(call, events.append)) as parts:  # type: ignore[type-var]
        async for part in parts:
            waits = [event.why for event in events if isinstance(event, Waiting)]
            rows = [event for event in events if isinstance(event, AttemptFinished)]
            if waits == ["queued"] and isinstance(held, Admission):
                limiter.leave(held, None)  # free again before the wait is made
                held = 0.0
            elif isinstance(part, CallResult):
                assert (waits, [row.outcome for row in rows]) == (["queued"], ["server_error", "ok"])
    assert (limiter.inside, limiter.waiting) == (0, 0)
