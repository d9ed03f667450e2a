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


@pytest.mark.parametrize("stream_deadline_s", [600.0, 6.0, 3.0], ids=["longer", "same", "shorter"])
def test_share_of_a_stream_is_of_the_shorter_deadline(bench: Any, fake: Any, stream_deadline_s: float) -> None:
    """`stream_deadline` is for what flows: a silent target is left as soon as for a whole answer."""
    calls = CallPolicy(deadline_s=6.0, stream_deadline_s=stream_deadline_s)
    tried = bench(fake(NEVER), fake(NEVER), fake("Because."), calls=calls)
    share_s = min(6.0, stream_deadline_s) / 3
    assert tried.stream()[0] == "Because."
    assert [row.duration_s for row in tried.rows[:-1]] == pytest.approx([share_s] * 2)
    assert f"its share of the call's {share_s * 3:.3g} s" in (tried.rows[0].error or "")
    tried.assert_nothing_is_left()


def test_last_target_of_a_stream_has_the_stream_deadline(bench: Any, fake: Any) -> None:
    """It may be silent for longer than `deadline`, which is for whole answers and for shares."""
    calls = CallPolicy(deadline_s=6.0, stream_deadline_s=600.0)
    late = [590.0, Chunk("Because."), STOP]
    for chain in ([fake(late)], [fake(NEVER), fake(late)]):
        assert bench(*chain, calls=calls).stream()[0] == "Because."


def test_time_in_which_a_stream_flowed_is_no_part_of_later_shares(bench: Any, fake: Any) -> None:
    """After a restart, a target before the last has its whole share to begin."""
    broken = [1.0, Chunk("a"), 100.0, ServerError("gone")]
    calls = CallPolicy(deadline_s=6.0, on_stream_failure="restart")
    tried = bench(fake(broken), fake([2.5, Chunk("Because."), STOP]), fake("no"), calls=calls)
    assert tried.stream()[0] == "Because."
    assert tried.requests == [1, 1, 0]


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
    for streamed in (False, True):
        patient = bench(fake(NEVER), fake("Because."), breaker=BreakerPolicy(failures=2))
        patient.call = evolve(patient.call, deadline_s=300.0)  # makes no share shorter, not of a stream either
        for _ in range(5):
            assert ask(patient, streamed=streamed) == "Because."
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
