"""Answers that are none: empty, blank, ended by a word that nobody knows; whatever the connector."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from attrs import evolve

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ContentFilterError,
    EmptyAnswerError,
    NoAnswerError,
    StreamRestarted,
    ToolCall,
    Usage,
)
from nexus_core.config.policies import CallPolicy

STOP = Chunk(finish_reason="stop", usage=Usage(prompt_tokens=7, completion_tokens=0))
EMPTY = [STOP]
BLANK = [Chunk("\n"), Chunk(" \n"), STOP]
INVISIBLE = [Chunk("\ufeff"), Chunk("\u200b\n\u2060\x00"), STOP]
THOUGHT_ONLY = [Chunk(reasoning="hm"), Chunk(finish_reason="length")]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("reply", [EMPTY, BLANK, INVISIBLE], ids=["empty", "blank", "invisible"])
def test_answer_without_text_is_retried_once_and_then_falls_back(
    bench: Any, fake: Any, reply: Any, streamed: bool
) -> None:
    """Fault 59: two requests to the one, then the next target; nothing of the blank text is seen."""
    tried = bench(fake(reply), fake("Because."))
    if streamed:
        text, answered = tried.stream()
        assert text == answered.completion.text == "Because."
    else:
        assert tried.complete().completion.text == "Because."
    assert tried.outcomes == [("m0", "empty_answer"), ("m0", "empty_answer"), ("m1", "ok")]
    assert [row.prompt_tokens for row in tried.rows[:2]] == [7, 7]
    tried.assert_nothing_is_left()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_only_empty_answers_end_in_an_error(bench: Any, fake: Any, streamed: bool) -> None:
    """The error of the only target, or what each of them said."""
    alone, both = bench(fake(BLANK)), bench(fake(BLANK), fake(EMPTY))
    with pytest.raises(EmptyAnswerError, match="'m0' is empty: it has no text"):
        alone.stream() if streamed else alone.complete()
    with pytest.raises(NoAnswerError) as caught:
        both.stream() if streamed else both.complete()
    assert {type(error) for error in caught.value.errors} == {EmptyAnswerError}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_model_may_allow_empty_answers(bench: Any, fake: Any, streamed: bool) -> None:
    """Declared, an empty answer is one, and a blank one arrives letter for letter."""
    for reply, expected in ((EMPTY, ""), (BLANK, "\n \n"), (INVISIBLE, "\ufeff\u200b\n\u2060\x00")):
        tried = bench(fake(reply), allow_empty=True)
        text = tried.stream()[0] if streamed else tried.complete().completion.text
        assert (text, tried.outcomes) == (expected, [("m0", "ok")])


def test_stop_text_of_the_caller_may_end_an_answer_at_once(bench: Any, fake: Any) -> None:
    """What ends at its first letter has said what it should."""
    tried = bench(fake(EMPTY))
    tried.call = evolve(tried.call, options=CallOptions(stop=("\n",)))
    assert tried.complete().completion.text == tried.stream()[0] == ""


def test_blank_start_of_an_answer_is_kept(bench: Any, fake: Any) -> None:
    """What shows nothing is held back only until there is text, a tool call or reasoning."""
    for blank in ("\n", "\u200f"):
        for reply in ([Chunk(blank), Chunk(" a"), STOP], [Chunk(blank), Chunk(" a", reasoning="hm"), STOP]):
            text, answered = bench(fake(reply)).stream()
            assert text == answered.completion.text == f"{blank} a"


def test_continued_answer_needs_no_more_text(bench: Any, fake: Any) -> None:
    """The target that goes on may find that all is said."""
    broken = [Chunk("Because."), Chunk(finish_reason=None)]
    calls = CallPolicy(on_stream_failure="continue")
    tried = bench(fake(broken), fake(EMPTY, can=("continue",)), calls=calls)
    text, answered = tried.stream()
    assert text == answered.completion.text == "Because."


def test_answer_that_is_all_thinking_says_so_and_is_not_asked_again(bench: Any, fake: Any) -> None:
    """The same request would think as long again; a target with more room may answer."""
    tried = bench(fake(THOUGHT_ONLY), fake("Because."))
    assert tried.complete().completion.text == "Because."
    assert tried.requests == [1, 1]
    assert "all of its tokens went into thinking: raise max_tokens" in (tried.rows[0].error or "")
    hidden = Completion(text="", finish_reason="length", usage=Usage(completion_tokens=64, reasoning_tokens=64))
    with pytest.raises(EmptyAnswerError, match="thinking"):
        bench(fake(hidden)).complete()
    cut = Completion(text="", finish_reason="length")
    assert bench(fake(cut)).complete().completion.finish_reason == "length"


def test_tool_calls_need_no_text(bench: Any, fake: Any) -> None:
    """A call of a tool is an answer; the word alone is none."""
    call = ToolCall(id="a", name="f", arguments="{}")
    for reason in ("tool_calls", "stop"):
        tried = bench(fake(Completion(text="", finish_reason=reason, tool_calls=(call,))))
        assert tried.complete().completion.tool_calls == (call,)
    with pytest.raises(EmptyAnswerError, match="announces tool calls"):
        bench(fake(Completion(text="", finish_reason="tool_calls"))).complete()


def test_filtered_answer_without_text_is_the_filters(bench: Any, fake: Any) -> None:
    """Fault 28, whatever the connector made of it: it is not retried, and goes on only where the pipeline says so."""
    tried = bench(fake(Completion(text=" ", finish_reason="content_filter")), fake("Because."))
    with pytest.raises(ContentFilterError):
        tried.complete()
    assert tried.requests == [1, 0]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_unknown_reason_is_on_the_answer_and_in_the_log_once(
    bench: Any, fake: Any, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 45: with text it is a warning, each word once for a model; without text an error, `allow_empty` or not."""
    last = Chunk(finish_reason="stop", native_finish_reason="pause_turn")
    whole = Completion(text="Because.", finish_reason="stop", native_finish_reason="pause_turn")
    tried = bench(fake([Chunk("Because."), last] if streamed else whole))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            answered = tried.stream()[1] if streamed else tried.complete()
            assert answered.completion.native_finish_reason == "pause_turn"
    assert [record.getMessage().count("'pause_turn'") for record in caplog.records] == [1]
    silent = bench(fake([last] if streamed else evolve(whole, text="")), allow_empty=True)
    with pytest.raises(EmptyAnswerError, match="unknown finish reason 'pause_turn'"):
        silent.stream() if streamed else silent.complete()


@pytest.mark.parametrize("policy", ["raise", "restart", "continue"])
def test_stream_of_nothing_but_reasoning_is_retried_once_and_then_falls_back(
    bench: Any, fake: Any, policy: Any
) -> None:
    """No text was shown, so that nothing binds: the reader hears that the reasoning before is void."""
    thought = [Chunk(reasoning="hm"), STOP]
    tried = bench(fake(thought), fake("Because."), calls=CallPolicy(on_stream_failure=policy))
    assert tried.stream()[0] == "Because."
    assert tried.outcomes == [("m0", "empty_answer"), ("m0", "empty_answer"), ("m1", "ok")]
    assert [event.model for event in tried.events if isinstance(event, StreamRestarted)] == ["m0", "m0"]
    tried.assert_nothing_is_left()


def test_stream_whose_tokens_all_went_into_thinking_falls_back(bench: Any, fake: Any) -> None:
    """As for a whole answer it is not asked again, and the only target's error says why."""
    tried = bench(fake(THOUGHT_ONLY), fake("Because."))
    assert (tried.stream()[0], tried.requests) == ("Because.", [1, 1])
    with pytest.raises(EmptyAnswerError, match="thinking"):
        bench(fake(THOUGHT_ONLY)).stream()
