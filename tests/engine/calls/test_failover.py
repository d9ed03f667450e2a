"""Failover of a call: who is asked how often, after which wait, and with what a call ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings, strategies as st

from nexus_core import (
    AuthError,
    ConflictError,
    ConnectError,
    ConnectorError,
    ContentFilterError,
    ContextLengthError,
    DeadlineError,
    DisconnectedError,
    InvalidRequestError,
    LimitError,
    ModelNotFoundError,
    NoAnswerError,
    OverloadedError,
    PoolBusyError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    ResponseTooLargeError,
    ServerError,
    StalledError,
    TruncatedError,
    UpstreamTimeoutError,
    Waiting,
)
from nexus_core.config.policies import BreakerPolicy, CallPolicy, RateLimitPolicy, RetryPolicy
from nexus_core.engine.calls.failure_policy import REACTIONS

ONCE = RetryPolicy(attempts=1)
FOR_EVER = BreakerPolicy(failures=10_000, of_at_least=10_000)
"""A breaker that no test opens."""
CLASSES = [ConnectorError, *(cls for cls in REACTIONS if cls.__name__ != "NotConfiguredError")]


@pytest.mark.parametrize(
    ("error", "requests"),
    [
        pytest.param(RateLimitError, 3, id="rate-limit"),
        pytest.param(OverloadedError, 3, id="overloaded"),
        pytest.param(ServerError, 3, id="server-error"),
        pytest.param(ConnectError, 3, id="connect"),
        pytest.param(UpstreamTimeoutError, 3, id="timeout"),
        pytest.param(StalledError, 2, id="stalled-once-more"),
        pytest.param(TruncatedError, 2, id="truncated-once-more"),
        pytest.param(ProtocolError, 2, id="protocol-once-more"),
        pytest.param(ConflictError, 2, id="conflict-once-more"),
        pytest.param(QuotaError, 1, id="quota"),
        pytest.param(AuthError, 1, id="auth"),
        pytest.param(ModelNotFoundError, 1, id="model"),
        pytest.param(InvalidRequestError, 1, id="invalid-request"),
        pytest.param(ContextLengthError, 1, id="context-length"),
        pytest.param(ContentFilterError, 1, id="content-filter"),
        pytest.param(PoolBusyError, 1, id="pool-busy"),
        pytest.param(ResponseTooLargeError, 1, id="too-large"),
    ],
)
def test_the_class_of_an_error_says_how_often_a_target_is_asked(
    bench: Any, fake: Any, error: type[ConnectorError], requests: int
) -> None:
    """Faults 2, 27, 28, 29 and 30: what waiting cannot help is not tried again; the bound of a class holds."""
    tried = bench(fake(error("no")))
    with pytest.raises(error):
        tried.complete()
    assert (tried.requests, len(tried.rows)) == ([requests], requests)


def test_attempts_on_a_target_end_at_its_limit(bench: Any, fake: Any) -> None:
    """`retry.attempts` counts the first one, and no retry is made where there is none."""
    for attempts in (1, 2, 5):
        tried = bench(fake(ServerError("no")), retry=RetryPolicy(attempts=attempts), breaker=FOR_EVER)
        with pytest.raises(ServerError):
            tried.complete()
        assert tried.requests == [attempts]
    tried = bench(fake(ServerError("no")), retry=None)
    with pytest.raises(ServerError):
        tried.complete()
    assert tried.requests == [1]


def test_attempts_of_a_call_end_at_the_cap(bench: Any, fake: Any) -> None:
    """Three targets with three attempts each make six, not nine."""
    tried = bench(*(fake(ServerError(f"no {n}")) for n in range(3)))
    with pytest.raises(NoAnswerError, match="m0: no 0; m1: no 1"):
        tried.complete()
    assert (tried.requests, [row.number for row in tried.rows]) == ([3, 3, 0], [1, 2, 3, 4, 5, 6])


def test_models_of_a_call_end_at_the_cap(bench: Any, fake: Any) -> None:
    """A long chain is not walked to its end."""
    tried = bench(*(fake(QuotaError("no")) for _ in range(5)), calls=CallPolicy(targets=2))
    with pytest.raises(NoAnswerError):
        tried.complete()
    assert tried.requests == [1, 1, 0, 0, 0]


def test_a_service_that_forbids_a_retry_is_not_asked_again(bench: Any, fake: Any) -> None:
    """Fault 7: `x-should-retry: false` stands over the class; `true` widens nothing."""
    tried = bench(fake(ServerError("no", should_retry=False)), fake("Because."))
    assert tried.complete().model.name == "m1"
    assert tried.requests == [1, 1]
    tried = bench(fake(InvalidRequestError("no", should_retry=True)))
    with pytest.raises(InvalidRequestError):
        tried.complete()
    assert tried.requests == [1]


def test_a_retry_waits_and_says_so(bench: Any, fake: Any) -> None:
    """Each wait is an event before it and a figure of the row after it."""
    tried = bench(fake(ServerError("no"), RateLimitError("no", retry_after_s=5.0), "Because."))
    assert tried.complete().completion.text == "Because."
    waits = [(event.why, event.wait_s) for event in tried.events if isinstance(event, Waiting)]
    assert [why for why, _ in waits] == ["server_error", "rate_limit"]
    assert 0 < waits[0][1] <= 0.5
    assert 5.0 < waits[1][1] <= 5.75
    assert [row.waited_s for row in tried.rows] == pytest.approx([0, waits[0][1], waits[1][1]])


def test_a_stale_connection_is_replaced_at_once(bench: Any, fake: Any) -> None:
    """Fault 11: the first retry waits for nothing and counts as an attempt, and the breaker sees no failure."""
    tried = bench(fake(DisconnectedError("stale"), "Because."), breaker=BreakerPolicy(failures=1))
    tried.complete()
    assert (tried.seconds, tried.outcomes) == (0.0, [("m0", "disconnected"), ("m0", "ok")])
    assert tried.attempts.states() == {"m0": "closed"}


def test_a_long_wait_gives_way_to_another_target(bench: Any, fake: Any) -> None:
    """Up to `patience` the target is waited for; beyond it the next one answers, and this one is left alone."""
    tried = bench(fake(RateLimitError("no", retry_after_s=1.0), "Because."), fake("Spare."))
    assert tried.complete().model.name == "m0"
    tried = bench(fake(RateLimitError("no", retry_after_s=20.0), "Because."), fake("Spare."))
    assert [tried.complete().model.name, tried.complete().model.name] == ["m1", "m1"]
    assert (tried.requests, tried.attempts.states()["m0"]) == ([1, 2], "parked")


def test_a_wait_of_days_is_not_made(bench: Any, fake: Any) -> None:
    """Fault 4: nobody sleeps for it; the caller learns of it, and so does the next one without a request."""
    tried = bench(fake(RateLimitError("slow down", retry_after_s=86_400.0)))
    for _ in range(2):
        with pytest.raises(RateLimitError, match="slow down") as caught:
            tried.complete()
    assert (tried.requests, tried.seconds) == ([1], 0.0)
    assert caught.value.retry_after_s == pytest.approx(3600)
    assert not caught.value.request_sent


def test_a_wait_that_the_deadline_does_not_allow_is_not_made(bench: Any, fake: Any) -> None:
    """Fault 9: stop now, with the last error, rather than wait and fail then."""
    tried = bench(fake(RateLimitError("slow down", retry_after_s=5.0)), calls=CallPolicy(deadline_s=3.0))
    with pytest.raises(DeadlineError, match="within the 3 s .*slow down") as caught:
        tried.complete()
    assert (tried.requests, tried.seconds) == ([1], 0.0)
    assert isinstance(caught.value.__cause__, RateLimitError)


def test_the_deadline_covers_waits_and_fallbacks(bench: Any, fake: Any) -> None:
    """All that a call does is within it, and a running attempt is ended by it."""
    slow = [4.0, ServerError("no")]
    tried = bench(fake(slow), fake(slow), fake(slow), calls=CallPolicy(deadline_s=10.0))
    with pytest.raises(DeadlineError, match="no answer within the 10 s"):
        tried.complete()
    assert tried.seconds == pytest.approx(10.0)
    assert (tried.rows[-1].outcome, tried.rows[-1].code) == ("timeout", "deadline")
    tried.assert_nothing_is_left()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_deadline_of_the_caller_ends_an_attempt_and_is_no_failure_of_the_target(
    bench: Any, fake: Any, streamed: bool
) -> None:
    """Fault 31: twenty impatient callers do not open the breaker for the patient one."""
    tried = bench(fake(*[[1.0, "never"]] * 20, "Because."), breaker=BreakerPolicy(failures=2))
    patient = tried.call
    for _ in range(20):
        tried.call = evolve(patient, deadline_s=0.05)
        with pytest.raises(DeadlineError):
            tried.stream() if streamed else tried.complete()
    tried.call = patient
    assert tried.complete().completion.text == "Because."
    assert [row.outcome for row in tried.rows] == ["timeout"] * 20 + ["ok"]
    tried.assert_nothing_is_left()


def test_auth_parks_the_target_and_its_reason_is_told_to_those_who_come_after(
    bench: Any, fake: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 29: one request, one line in the log, and the next target answers meanwhile."""
    tried = bench(fake(AuthError("bad key")), fake("Because."))
    assert [tried.complete().model.name for _ in range(3)] == ["m1"] * 3
    assert tried.requests == [1, 3]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    alone = bench(fake(AuthError("bad key")))
    for message in ("^bad key$", "nothing is sent to 'm0' for .* s more: bad key"):
        with pytest.raises(AuthError, match=message):
            alone.complete()
    assert alone.requests == [1]


def test_whether_auth_and_filters_are_followed_by_the_next_target_is_for_the_pipeline_to_say(
    bench: Any, fake: Any
) -> None:
    """Fault 28: a refusal of the content goes to nobody else unless it is asked for; a wrong key may be a stop."""
    for error, calls in (
        (ContentFilterError("no"), CallPolicy()),
        (AuthError("no"), CallPolicy(fallback_on_auth=False)),
    ):
        with pytest.raises(type(error)):
            bench(fake(error), fake("Because."), calls=calls).complete()
    opted = CallPolicy(fallback_on_content_filter=True)
    assert bench(fake(ContentFilterError("no")), fake("Because."), calls=opted).complete().model.name == "m1"


def test_a_prompt_that_is_too_long_is_no_failure_of_the_target(bench: Any, fake: Any) -> None:
    """Fault 27: a healthy target is not left alone for it."""
    tried = bench(fake(*[ContextLengthError("no")] * 20, "Because."), breaker=BreakerPolicy(failures=1))
    for _ in range(20):
        with pytest.raises(ContextLengthError):
            tried.complete()
    assert tried.complete().completion.text == "Because."


def test_every_hop_reports_to_its_own_breaker(bench: Any, fake: Any) -> None:
    """Fault 32: a fallback that only fails is left alone like a first choice."""
    tried = bench(fake(ServerError("no")), fake(ServerError("no")), fake("Because."), retry=ONCE)
    for _ in range(8):
        assert tried.complete().model.name == "m2"
    assert tried.requests == [5, 5, 8]
    assert tried.attempts.states() == {"m0": "open", "m1": "open", "m2": "closed"}


def test_a_single_target_recovers_within_five_seconds(bench: Any, fake: Any) -> None:
    """Fault 33: a blip does not become an outage; the time that is left is told."""
    tried = bench(fake(*[ServerError("no")] * 5, "Because."), retry=ONCE)
    for _ in range(5):
        with pytest.raises(ServerError):
            tried.complete()
    with pytest.raises(OverloadedError, match="it failed too often") as caught:
        tried.complete()
    assert not caught.value.request_sent
    wait_s = caught.value.retry_after_s
    assert wait_s is not None
    assert 0 < wait_s <= 5.0
    tried.run(asyncio.sleep(wait_s - 0.5))
    assert tried.complete().completion.text == "Because."  # what is free within a second is waited for
    assert tried.requests == [6]


def test_one_probe_finds_out_whether_a_target_serves_again(bench: Any, fake: Any) -> None:
    """Fault 34: of a hundred calls at that moment one reaches the service."""
    tried = bench(fake(*[ServerError("no")] * 5, [0.1, ServerError("still no")]), retry=ONCE)
    for _ in range(5):
        with pytest.raises(ServerError):
            tried.complete()

    async def crowd() -> list[Any]:
        await asyncio.sleep(6.0)
        return await asyncio.gather(*(tried.completing() for _ in range(100)), return_exceptions=True)

    found = tried.run(crowd())
    assert tried.requests == [6]
    assert sorted({type(error).__name__ for error in found}) == ["OverloadedError", "ServerError"]


def test_a_total_outage_is_not_multiplied(bench: Any, fake: Any) -> None:
    """Fault 10: a thousand calls make a thousand attempts, a tenth more, and ten."""
    tried = bench(fake(ServerError("no")), breaker=FOR_EVER)
    for _ in range(1000):
        with pytest.raises(ServerError):
            tried.complete()
    assert 1000 < tried.requests[0] <= 1.1 * 1000 + 10


def test_a_total_outage_of_a_chain_is_not_multiplied_for_any_target(bench: Any, fake: Any) -> None:
    """Fault 10: the budget is the target's, so a fallback is not flooded either."""
    tried = bench(fake(ServerError("no")), fake(ServerError("no")), breaker=FOR_EVER)
    for _ in range(500):
        with pytest.raises(NoAnswerError):
            tried.complete()
    assert all(500 <= count <= 1.1 * 500 + 10 for count in tried.requests)


def test_a_limit_is_waited_for_unless_another_target_is_left(bench: Any, fake: Any) -> None:
    """The queue of one target is no reason to wait longer than `patience` where the next is free."""
    limits = RateLimitPolicy(requests_per_minute=6)
    tried = bench(fake("Because."), limits=limits, calls=CallPolicy(deadline_s=30.0))
    tried.complete()
    with pytest.raises(LimitError):
        tried.complete()
    assert [(row.outcome, row.request_sent) for row in tried.rows] == [("ok", True), ("limit", False)]
    chain = bench(fake("Because."), fake("Spare."), limits=limits)
    assert [chain.complete().model.name, chain.complete().model.name] == ["m0", "m1"]
    chain.assert_nothing_is_left()


def test_a_short_wait_for_a_limit_is_a_figure_of_the_row(bench: Any, fake: Any) -> None:
    """What the pipeline's own limits cost is visible."""
    tried = bench(fake("Because."), limits=RateLimitPolicy(requests_per_minute=60))
    for _ in range(11):
        tried.complete()
    assert tried.rows[-1].queued_s == pytest.approx(1.0)
    assert [event.why for event in tried.events if isinstance(event, Waiting)] == ["queued"]


def test_tokens_are_put_right_after_the_answer(bench: Any, fake: Any) -> None:
    """A reservation of the longest answer does not hold up those who come after a short one."""
    tried = bench(
        fake("Because."), limits=RateLimitPolicy(tokens_per_minute=12_000)
    )  # a burst of 2,000, the reserve is 1,024
    for _ in range(50):
        tried.complete()
    assert tried.seconds == 0.0


def test_a_draft_is_packed_once_for_each_target(bench: Any, fake: Any) -> None:
    """A retry sends the same prompt; another target gets one of its own."""
    tried = bench(fake(ServerError("no")), fake("Because.", window=2048))
    tried.complete()
    prompts = [prompt for connector in tried.connectors for prompt in connector.prompts]
    assert [prompt.window for prompt in prompts] == [4096, 4096, 4096, 2048]
    assert prompts[0] is prompts[1] is prompts[2]


OUTCOMES = st.sampled_from([*CLASSES, None, None])
POLICIES = st.builds(
    CallPolicy,
    attempts=st.integers(1, 8),
    targets=st.integers(1, 5),
    deadline_s=st.sampled_from([0.5, 3.0, 120.0]),
    patience_s=st.sampled_from([0.0, 2.0, inf]),
    fallback_on_auth=st.booleans(),
    fallback_on_content_filter=st.booleans(),
    on_stream_failure=st.sampled_from(["fail", "restart", "continue"]),
)


def reply(error: type[ConnectorError] | None, after: bool, retry_after_s: float | None) -> Any:
    if error is None:
        return "Because it is so."
    failure = error("no", retry_after_s=retry_after_s)
    return ("Because ", failure) if after else failure


REPLIES = st.builds(reply, OUTCOMES, st.booleans(), st.sampled_from([None, 0.5, 10.0, 1e6]))


@pytest.mark.slow
@given(
    scripts=st.lists(st.lists(REPLIES, min_size=1, max_size=6), min_size=1, max_size=5),
    calls=POLICIES,
    attempts=st.integers(1, 5),
    limits=st.sampled_from(
        [None, RateLimitPolicy(concurrency=1), RateLimitPolicy(requests_per_minute=30, tokens_per_minute=6000)]
    ),
    breaker=st.sampled_from([None, BreakerPolicy(), BreakerPolicy(failures=1)]),
    streamed=st.booleans(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_requests_never_exceed_the_cap_and_each_leaves_one_row(
    bench: Any, fake: Any, scripts: Any, calls: CallPolicy, attempts: int, limits: Any, breaker: Any, streamed: bool
) -> None:
    """Fault 1: for every chain, policy and outcome; nothing is left behind, and what a reader has is a whole answer."""
    chain = [fake(*script, can=("continue",)) for script in scripts]
    retry = RetryPolicy(attempts=attempts)
    tried = bench(*chain, calls=calls, retry=retry, breaker=breaker, limits=limits)
    for _ in range(3):
        before, tried.events[:] = sum(tried.requests), []
        began, answered = tried.seconds, None
        with suppress(ConnectorError, NoAnswerError, DeadlineError):
            answered = tried.stream()[1] if streamed else tried.complete()
        sent = sum(tried.requests) - before
        rows = [row for row in tried.rows if row.request_sent]
        assert sent == len(rows) <= calls.attempts
        assert len({row.model for row in rows}) <= calls.targets
        assert all(sum(row.model == model.name for row in rows) <= attempts for model in tried.models)
        assert [row.number for row in tried.rows] == list(range(1, len(tried.rows) + 1))
        assert tried.seconds - began <= (calls.stream_deadline_s if streamed else calls.deadline_s) + 1e-6
        assert not (answered and streamed) or tried.shown == answered.completion.text
        tried.assert_nothing_is_left()
