"""A target that does not answer leaves time for those after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from nexus_core import AuthError, Chunk, DeadlineError, NoAnswerError, Pipeline, ServerError, UpstreamTimeoutError
from nexus_core.config.policies import BreakerPolicy, CallPolicy
from nexus_core.testing.upstream import ScriptedUpstream, Silence, chat_events, completion, json_answer, stream_answer

NEVER = [float("inf")]
STOP = Chunk(finish_reason="stop")


def ask(tried: Any, *, streamed: bool) -> str:
    """Return the text of the answer, either way."""
    text: str = tried.stream()[0] if streamed else tried.complete().completion.text
    return text


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("targets", "seconds"), [(2, [60.0]), (3, [40.0, 40.0])], ids=["one left", "two left"])
def test_attempt_ends_at_its_share_of_the_deadline(
    bench: Any, fake: Any, targets: int, seconds: list[float], streamed: bool
) -> None:
    """Fault 9: time left by targets left: so the last one is asked, and has what is left."""
    calls = CallPolicy(deadline_s=120.0, stream_deadline_s=120.0)
    tried = bench(*(fake(NEVER) for _ in seconds), fake([seconds[0] - 1, Chunk("Because."), STOP]), calls=calls)
    assert ask(tried, streamed=streamed) == "Because."
    assert [row.duration_s for row in tried.rows[:-1]] == pytest.approx(seconds)
    assert {(row.outcome, row.code) for row in tried.rows[:-1]} == {("timeout", "deadline_share")}
    assert tried.requests == [1] * targets
    tried.assert_nothing_is_left()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_last_target_has_all_that_is_left(bench: Any, fake: Any, streamed: bool) -> None:
    """Also the only one: nothing is kept for anybody else."""
    calls = CallPolicy(deadline_s=120.0, stream_deadline_s=120.0)
    late = [119.0, Chunk("Because."), STOP]
    assert ask(bench(fake(late), calls=calls), streamed=streamed) == "Because."
    tried = bench(fake(ServerError("no")), fake(late), calls=calls, retry=None)
    assert ask(tried, streamed=streamed) == "Because."
    with pytest.raises(DeadlineError):
        ask(bench(fake(NEVER), fake(NEVER), calls=calls), streamed=streamed)


def test_timeout_goes_to_the_next_target_before_the_same_again(bench: Any, fake: Any) -> None:
    """90 s and then 30 s for one model was all the time there was; without another target it is asked again."""
    slow = [90.0, UpstreamTimeoutError("too slow", code="timeout_total")]
    calls = CallPolicy(deadline_s=400.0)
    tried = bench(fake(slow), fake("Because."), calls=calls)
    assert tried.complete().completion.text == "Because."
    assert tried.requests == [1, 1]
    alone = bench(fake(slow), calls=calls)
    with pytest.raises(UpstreamTimeoutError):
        alone.complete()
    assert alone.requests == [3]


def test_stream_that_flows_is_not_cut_at_its_share(bench: Any, fake: Any) -> None:
    """Its first content ends the share: nobody else could go on with it."""
    flowing = [10.0, Chunk("a"), *[50.0, Chunk("b")] * 8, STOP]
    tried = bench(fake(flowing), fake("Because."), calls=CallPolicy(stream_deadline_s=600.0))
    assert tried.stream()[0] == "a" + "b" * 8
    assert tried.seconds == pytest.approx(410.0)
    tried.assert_nothing_is_left()


def test_share_counts_only_targets_that_may_be_asked(bench: Any, fake: Any) -> None:
    """Those beyond the caps of the call, or left alone, need no time."""
    late = [100.0, Chunk("Because."), STOP]
    for calls in (CallPolicy(targets=1), CallPolicy(attempts=1)):
        assert bench(fake(late), fake("no"), calls=calls).complete().completion.text == "Because."
    tried = bench(fake(ServerError("no"), late), fake(AuthError("bad key")), retry=None)
    with pytest.raises(NoAnswerError):
        tried.complete()
    assert tried.complete().completion.text == "Because.", "the other one is parked"


def test_share_of_an_impatient_caller_is_no_failure_of_the_target(bench: Any, fake: Any) -> None:
    """Fault 31: short deadlines open no breaker, and the fallback is asked however short they are."""
    tried = bench(fake(NEVER), fake("Because."), breaker=BreakerPolicy(failures=2))
    tried.call = evolve(tried.call, deadline_s=0.1)
    for _ in range(5):
        assert tried.complete().completion.text == "Because."
    assert tried.requests == [5, 5]
    patient = bench(fake(NEVER), fake("Because."), breaker=BreakerPolicy(failures=2))
    for _ in range(5):
        assert patient.complete().completion.text == "Because."
    assert patient.requests == [2, 5]


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_silent_service_leaves_time_for_the_fallback(tmp_path: Path, streamed: bool) -> None:
    """Over sockets: the first never answers, the second does, within the time of the call."""
    good = stream_answer(chat_events("Because.")) if streamed else json_answer(completion("Because."))
    async with ScriptedUpstream([Silence()]) as silent, ScriptedUpstream(good) as spare:
        file = tmp_path / "two.yaml"
        file.write_text(
            "name: two\ncalls: {deadline: 2s, stream_deadline: 2s}\nmodels:\n"
            f'  main: {{use: openai, model: a, base_url: "{silent.url}", fallback: spare}}\n'
            f'  spare: {{use: openai, model: b, base_url: "{spare.url}"}}\nsteps:\n- generate: main\n'
        )
        async with Pipeline.load(file) as pipeline:
            if streamed:
                *_, last = [event async for event in pipeline.stream("Why?")]
                answer = last.answer  # type: ignore[attr-defined]
            else:
                answer = await pipeline.run("Why?")
        assert (answer.text, answer.model) == ("Because.", "spare")
        assert [row.code for row in answer.attempts] == ["deadline_share", None]
        assert (len(silent.requests), len(spare.requests)) == (1, 1)
