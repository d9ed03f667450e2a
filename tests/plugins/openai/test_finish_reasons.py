"""Finish reasons: the words of the field, and that none is believed which is followed by more of the answer.

Through a pipeline, since whether an answer is one is decided there for every connector.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from nexus_openai.stream_parsing import StreamReading

from nexus_core import ConnectorError, Pipeline, RunFailed, RunFinished
from nexus_core.testing.upstream import (
    DONE,
    Pause,
    Reset,
    Script,
    ScriptedUpstream,
    Silence,
    Step,
    completion,
    delta,
    event,
    json_answer,
    stream_answer,
)
from nexus_core.toolkit.http import service_client

FILE = """name: once
models:
  main: {{use: openai, model: any, base_url: "{url}", retry: false, breaker: false}}
steps:
- generate: main
"""
WORDS: dict[str, tuple[str, str]] = {
    # class with text, class without
    "stop": ("STOP eos end_turn Stop EOS_TOKEN COMPLETE", "empty_answer"),
    "length": ("LENGTH MAX_TOKENS max_output_tokens model_context_window_exceeded time_limit Length", "length"),
    "content_filter": (
        "SAFETY RECITATION content_filtered refusal guardrail_intervened content_filter:PROHIBITED_CONTENT",
        "content_filter error",
    ),
    "tool_calls": ("tool_use TOOL_CALLS function_call", "empty_answer"),
    "protocol": ("MALFORMED_FUNCTION_CALL function_call_filter:MALFORMED_FUNCTION_CALL", "protocol"),
    "truncated": ("cancelled repetition ABORT", "truncated"),
    "server_error": ("error Network_Error", "server_error"),
    "unknown": ("pause_turn unknown OTHER", "empty_answer"),
}
CLASSES = [
    pytest.param(word.replace(":", ": "), kind if text else without, text, id=f"{word}-{'text' if text else 'empty'}")
    for kind, (words, without) in WORDS.items()
    for word in words.split()
    for text in ("The harbour is open.", "")
]


async def ask(tmp_path: Path, scripts: Sequence[Script], *, streamed: bool) -> list[Any]:
    """Return how each script ends: class of finish, text, reasoning, or the kind of the error."""
    async with ScriptedUpstream(*scripts) as upstream:
        file = tmp_path / "once.yaml"
        file.write_text(FILE.format(url=upstream.url))
        async with Pipeline.load(file) as pipeline:
            return [await (streams(pipeline) if streamed else answers(pipeline)) for _ in scripts]


async def answers(pipeline: Pipeline) -> Any:
    try:
        answer = await pipeline.run("Open?")
    except ConnectorError as error:
        return error.kind
    return outcome(answer)


async def streams(pipeline: Pipeline) -> Any:
    *_, last = [happened async for happened in pipeline.stream("Open?")]
    if isinstance(last, RunFailed):
        return last.kind
    assert isinstance(last, RunFinished)
    return outcome(last.answer)


def outcome(answer: Any) -> tuple[str, str, str]:
    return ("unknown" if answer.native_finish_reason else answer.finish_reason, answer.text, answer.reasoning)


@pytest.mark.slow
@pytest.mark.parametrize(("word", "kind", "text"), CLASSES)
async def test_word_of_the_field_is_told_by_its_class(word: str, kind: str, text: str, tmp_path: Path) -> None:
    """Without case, whole and streamed, with text and without: a class, or the error that it is."""
    whole = json_answer(completion(text or None, finish_reason=word))
    streamed = stream_answer([event(delta(text or None)), event(delta(finish_reason=word)), DONE])
    error = kind in ("empty_answer", "content_filter error", "protocol", "truncated", "server_error")
    expected = kind.removesuffix(" error") if error else (kind, text, "")
    assert await ask(tmp_path, [whole], streamed=False) == [expected]
    assert await ask(tmp_path, [streamed], streamed=True) == [expected]


async def test_unknown_word_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It stands on the answer each time; of what a service makes up without end a few are logged."""
    scripts = [json_answer(completion("Yes.", finish_reason=word)) for word in ["later"] * 3 + ["\x1b[31m" + "x" * 999]]
    with caplog.at_level(logging.WARNING):
        assert {kind for kind, *_ in await ask(tmp_path, scripts, streamed=False)} == {"unknown"}
    said = [record.getMessage() for record in caplog.records if "finish reason" in record.getMessage()]
    assert len(said) == 2
    assert "'later'" in said[0]
    assert "\x1b" not in said[1]
    assert len(said[1]) < 300


def message(text: str, reason: str | None = None, kind: str = "chat.completion.chunk") -> bytes:
    """Return an event with a message in place of a delta."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return event(delta(choices=[choice], object=kind))


def beside(inner: dict[str, Any], text: str, reason: str | None = None) -> bytes:
    """Return an event with a delta and a message."""
    spoken = {"role": "assistant", "content": text}
    return event(delta(choices=[{"index": 0, "delta": inner, "message": spoken, "finish_reason": reason}]))


def part(text: str | None = None, reason: str | None = None, thought: str | None = None) -> bytes:
    """Return an event of a stream, with all that services put into one."""
    inner = {"content": text, "reasoning_content": thought}
    shown = {name: value for name, value in inner.items() if value is not None}
    return event(delta(choices=[{"index": 0, "delta": shown, "finish_reason": reason}]))


STOP = part(reason="stop")
STREAMS: dict[str, tuple[list[Step], Any]] = {
    "null is no reason": ([part("Yes.", "null")], "truncated"),
    "null until the end": ([part("Yes", "null"), part(".", "NULL"), STOP], ("stop", "Yes.", "")),
    "none is no reason": ([part("Yes.", "None"), DONE], "truncated"),
    "on every event": ([part("Yes", "stop"), part(".", "stop"), DONE], ("stop", "Yes.", "")),
    "on every event, cut": ([part("Yes", "stop"), part("."), DONE], "truncated"),
    "before the reasoning": ([part(reason="stop"), part(thought="hm"), part("Yes."), STOP], ("stop", "Yes.", "hm")),
    "on the reasoning": ([part(thought="hm", reason="stop"), part("Yes."), STOP], ("stop", "Yes.", "hm")),
    "on the reasoning, cut": ([part(thought="hm", reason="stop"), part("Yes.")], "truncated"),
    "error taken back": ([part("Yes", "error"), part("."), STOP], ("stop", "Yes.", "")),
    "empty after it": ([part("Yes."), STOP, part(""), part(), DONE], ("stop", "Yes.", "")),
    "cut and then stop": ([part("Yes.", "length"), STOP, DONE], ("length", "Yes.", "")),
    "stop and then cut": ([part("Yes.", "stop"), part(reason="length"), DONE], ("length", "Yes.", "")),
    "filtered and then cut": (
        [part("Yes."), part(reason="safety"), part("", "length")],
        ("content_filter", "Yes.", ""),
    ),
    "given up and then stop": ([part("Yes."), part(reason="error"), STOP, DONE], "server_error"),
    "unknown and then stop": ([part("Yes."), part(reason="pause_turn"), STOP], ("unknown", "Yes.", "")),
    "cut, and text after it": ([part("Yes", "length"), part("."), STOP], ("stop", "Yes.", "")),
    "message beside a delta": ([beside({}, "Yes"), beside({"role": "assistant"}, "."), STOP], ("stop", "Yes.", "")),
    "message beside null": (
        [beside({"content": None}, "Yes"), beside({"content": ""}, ".", "stop")],
        ("stop", "Yes.", ""),
    ),
    "delta before message": ([beside({"content": "Yes."}, "Yes.", "stop"), DONE], ("stop", "Yes.", "")),
    "message for delta": ([message("Yes"), message(".", "stop"), DONE], ("stop", "Yes.", "")),
    "one whole message": ([message("Yes.", "stop", "chat.completion"), DONE], ("stop", "Yes.", "")),
    "whole message again": ([part("Yes."), message("Yes.", "stop", "chat.completion")], ("stop", "Yes.", "")),
    "reset after every reason": ([part("Yes", "stop"), part(".", "stop"), Pause(0.05), Reset()], "error"),
    "reset after the reason": ([part("Yes."), STOP, Pause(0.05), Reset()], ("stop", "Yes.", "")),
}


@pytest.mark.parametrize(("pieces", "expected"), STREAMS.values(), ids=STREAMS)
async def test_reason_counts_where_nothing_follows(pieces: list[Step], expected: Any, tmp_path: Path) -> None:
    """Fault 45: what comes after it takes it back, and where it always comes only the end of the data confirms it."""
    [found] = await ask(tmp_path, [stream_answer(pieces)], streamed=True)
    if expected == "error":
        assert isinstance(found, str), found
    else:
        assert found == expected


@pytest.mark.slow
async def test_wait_for_the_tail_counts_from_the_last_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that ends every event may go on for longer than that wait, and silence still ends it."""
    monkeypatch.setattr(service_client, "_TAIL_S", 1.0)
    slow: list[Step] = []
    for number in range(5):
        slow += [part(f"{number}", "stop"), Pause(0.4)]
    [found] = await ask(tmp_path, [stream_answer([*slow, Silence()])], streamed=True)
    assert found == ("stop", "01234", "")


REASONS = [None, None, None, "null", "", "None", "stop", "Stop", "length", "MAX_TOKENS", "end_turn", "SAFETY"]
REASONS += ["tool_use", "cancelled", "Error", "pause_turn", "whatever"]
CLASS_OF = {
    "stop": "stop", "Stop": "stop", "end_turn": "stop", "length": "length", "MAX_TOKENS": "length",
    "SAFETY": "content_filter", "tool_use": "tool_calls", "pause_turn": "unknown", "whatever": "unknown",
    "cancelled": "truncated", "Error": "server_error",
}  # fmt: skip
FROM_BEST = [["stop"], ["unknown"], ["tool_calls"], ["length"], ["content_filter"], ["truncated", "server_error"]]
CALL = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]
Part = tuple[str, str, bool, str | None]
"""Text, reasoning, whether a tool is called, and the reason beside them."""


def sequence(random: Random) -> list[Part]:
    """Return the events of a stream with its reason early, twice, late or absent."""
    parts: list[Part] = []
    for number in range(random.randint(1, 6)):
        kind = random.choice(["text", "text", "thought", "nothing", "nothing", "call"])
        if kind == "call" and any(part[2] for part in parts):
            kind = "nothing"
        text, thought = (f"w{number} " if kind == "text" else ""), (f"t{number} " if kind == "thought" else "")
        parts.append((text, thought, kind == "call", random.choice(REASONS)))
    if random.random() < 0.6:
        parts.append(("", "", False, random.choice(REASONS)))
    return parts


def badness(found: str) -> int:
    """Return the place of a class among all, errors last."""
    return next(at for at, kinds in enumerate(FROM_BEST) if found in kinds)


def verdict(parts: list[Part], *, streamed: bool) -> Any:
    """Say what a sequence comes to, by looking back from its end: independent of the way in which it is read."""
    text, thought = "".join(part[0] for part in parts), "".join(part[1] for part in parts)
    called, found = any(part[2] for part in parts), None
    for said, reasoned, calls, reason in reversed(parts):
        # A whole answer has one reason; of those at the end of a stream the worst counts, and the later of two as bad.
        if reason in CLASS_OF and (found is None or (streamed and badness(CLASS_OF[reason or ""]) > badness(found))):
            found = CLASS_OF[reason or ""]
        if streamed and (said or reasoned or calls):
            break
    if found is None:
        if streamed:
            return "truncated"
        found = "stop"
    if found in ("truncated", "server_error"):
        return found
    if not text and found == "content_filter":
        return "content_filter"
    silent = not text and not called
    if silent and (found in ("stop", "tool_calls", "unknown") or (found == "length" and thought)):
        return "empty_answer"
    return found, text, thought


def as_stream(parts: list[Part], random: Random) -> Script:
    """Return a stream of the parts; `[DONE]` is there or not."""
    pieces = []
    for text, thought, called, reason in parts:
        inner = {"content": text, "reasoning": thought, **({"tool_calls": CALL} if called else {})}
        shown = {name: value for name, value in inner.items() if value or random.random() < 0.3}
        place = random.choice(["delta", "delta", "message", "beside"])
        held = {"delta": {}, "message": shown} if place == "beside" else {place: shown}
        pieces.append(event(delta(choices=[{"index": 0, **held, "finish_reason": reason}])))
    return stream_answer([b"".join([*pieces, DONE if random.random() < 0.5 else b""])])


def as_whole(parts: list[Part]) -> Script:
    """Return the same as a whole answer, with the last reason."""
    told = [reason for *_, reason in parts if reason in CLASS_OF]
    answer = completion("".join(part[0] for part in parts), finish_reason=told[-1] if told else parts[-1][3])
    answer["choices"][0]["message"]["reasoning"] = "".join(part[1] for part in parts)
    if any(part[2] for part in parts):
        answer["choices"][0]["message"]["tool_calls"] = CALL
    return json_answer(answer)


@pytest.mark.slow
async def test_no_sequence_of_reasons_passes_for_whole_that_is_not(tmp_path: Path) -> None:
    """200 of them, streamed and whole: none is whole that is not, and none is cut that is whole."""
    random = Random(7)
    sequences = [sequence(random) for _ in range(200)]
    streamed = await ask(tmp_path, [as_stream(parts, random) for parts in sequences], streamed=True)
    whole = await ask(tmp_path, [as_whole(parts) for parts in sequences], streamed=False)
    wrong = [
        (parts, found, verdict(parts, streamed=how))
        for how, outcomes in ((True, streamed), (False, whole))
        for parts, found in zip(sequences, outcomes, strict=True)
        if found != verdict(parts, streamed=how)
    ]
    assert wrong == []
    kinds = {found if isinstance(found, str) else found[0] for found in [*streamed, *whole]}
    assert len(kinds) >= 8, "the sequences are of all kinds"


def test_retracted_reason_is_told_by_the_reading() -> None:
    """Whether a broken connection is believed depends on it."""
    reading = StreamReading()
    for data in (b'{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}',) * 2:
        reading.take(b"", data)
    assert (reading.finish_reason, reading.retracted, reading.doubtful) == ("stop", True, True)
