"""What comes back: whole answers, streams cut at every byte, tool calls, thinking, counts, and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from nexus_ollama.connector import Ollama
from nexus_ollama.wire import ChatLines, make_wire

from nexus_core import (
    AuthError,
    Chunk,
    ConnectError,
    ConnectorError,
    ContextLengthError,
    ModelNotFoundError,
    NotConfiguredError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    QuotaError,
    ServerError,
    TruncatedError,
    UnsupportedRequestError,
    Usage,
)
from nexus_core.testing.upstream import ScriptedUpstream, json_answer
from nexus_core.toolkit import JsonLinesDecoder

TIDE = {"function": {"name": "tide", "arguments": {"at": "noon"}}}
CALLS = [TIDE, {"function": {"name": "moon", "arguments": {}}}, TIDE]


async def test_a_whole_answer_is_read(service: Any, good: Any) -> None:
    """Text, thinking, model, finish reason and counts."""
    done = await service.send(good | {"message": {"content": "Yes.", "thinking": "Sunday?"}, "done_reason": "length"})
    assert (done.text, done.reasoning, done.model, done.finish_reason) == ("Yes.", "Sunday?", "llama3.2", "length")
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (26, 9)


async def test_counts_that_the_service_leaves_out_are_unknown(service: Any, good: Any) -> None:
    """It may leave out that of a prompt which it has at hand."""
    del good["prompt_eval_count"]
    done = await service.send(good)
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (None, 9)
    good["prompt_eval_count"] = 26


async def test_a_stream_is_read_line_by_line(service: Any, line: Any) -> None:
    """Thinking first, then text, then the end with the counts."""
    pieces = [line(thinking="Hm"), line(content="Y"), line(content="es"), line(done=True)]
    *parts, last = await service.stream(pieces)
    assert parts == [Chunk(reasoning="Hm"), Chunk("Y"), Chunk("es")]
    assert (last.finish_reason, last.model) == ("stop", "llama3.2")
    assert last.usage == Usage(prompt_tokens=26, completion_tokens=9)


@pytest.mark.parametrize("streamed", [True, False])
async def test_tool_calls_are_read(service: Any, line: Any, good: Any, streamed: bool) -> None:
    """Arguments come as objects and leave as JSON, calls without an id get one, and the same call twice is two."""
    if streamed:
        pieces = [line(tool_calls=CALLS[:1]), line(tool_calls=CALLS[1:]), line(done=True)]
        chunks = await service.stream(pieces)
        parts = [part for chunk in chunks for part in chunk.tool_calls]
        calls = [tuple(map("".join, zip(*((p.id, p.name, p.arguments) for p in parts if p.index == n), strict=True)))
                 for n in (0, 1, 2)]  # fmt: skip
        reason = chunks[-1].finish_reason
    else:
        done = await service.send(good | {"message": {"content": "", "tool_calls": CALLS}})
        calls = [(call.id, call.name, call.arguments) for call in done.tool_calls]
        reason = done.finish_reason
    assert calls == [
        ("call_0", "tide", '{"at":"noon"}'),
        ("call_1", "moon", "{}"),
        ("call_2", "tide", '{"at":"noon"}'),
    ]
    assert reason == "tool_calls"


LINES = b"".join(
    json.dumps(payload, ensure_ascii=False).encode() + b"\r\n"
    for payload in (
        {"message": {"content": "né🙂\u2028"}, "done": False},
        {"message": {"content": "", "tool_calls": CALLS}, "done": False},
        {"message": {"content": "."}, "done": True, "done_reason": "stop", "eval_count": 3},
    )
)


def read(pieces: list[bytes]) -> tuple[str, list[Any], Chunk]:
    """Return text, calls and last chunk of a stream that comes in these pieces."""
    decoder, reading, chunks = JsonLinesDecoder(), ChatLines(), []
    for piece in (*pieces, b""):
        chunks += [reading.take(*event) for event in decoder.feed(piece)]
    said = [chunk for chunk in chunks if chunk]
    calls = [call for chunk in said for call in chunk.tool_calls]
    return "".join(chunk.text for chunk in said), calls, reading.finish()


@given(st.lists(st.integers(1, len(LINES) - 1), max_size=6, unique=True).map(sorted))
@settings(max_examples=100, deadline=None)
def test_a_stream_says_the_same_however_its_bytes_are_cut(cuts: list[int]) -> None:
    """Within characters, between CR and LF, and at every byte."""
    whole = read([LINES])
    assert whole[0] == "né🙂\u2028."
    assert read([LINES[a:b] for a, b in zip([0, *cuts], [*cuts, len(LINES)], strict=True)]) == whole
    assert read([LINES[at : at + 1] for at in range(len(LINES))]) == whole


async def test_a_stream_that_is_cut_is_no_answer(service: Any, line: Any) -> None:
    """Without the line that says `done`, whole or in the middle of it."""
    for end in (b"", line(done=True)[:30]):
        with pytest.raises(TruncatedError):
            await service.stream([line(content="Half"), end] if end else [line(content="Half")])


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (404, "model 'llama3.2' not found", ModelNotFoundError),
        (401, "unauthorized", AuthError),
        (503, "server busy, please try again.  maximum pending requests exceeded", OverloadedError),
        (500, "llama runner process has terminated: signal: killed", ServerError),
        (400, "the input length exceeds the context length", ContextLengthError),
        (400, "the prompt is longer than the context length currently available to the model; ...", ContextLengthError),
        (400, "registry.ollama.ai/library/gemma:2b does not support tools", UnsupportedRequestError),
        (400, '"llama3.2" does not support thinking', UnsupportedRequestError),
        (500, "model requires more system memory (9.9 GiB) than is available (3.1 GiB)", ServerError),
        (429, "you have reached your weekly usage limit", QuotaError),
        (
            400,
            json.dumps({"error": {"code": 400, "message": "request (8889 tokens) exceeds the available context size "
                                  "(4096 tokens), try increasing it", "type": "exceed_context_size_error"}}),
            ContextLengthError,
        ),
    ],
)  # fmt: skip
async def test_errors_have_their_class(service: Any, status: int, said: str, kind: type[ConnectorError]) -> None:
    """By status and wording; the last one is an error within an error."""
    error = await service.fails(json_answer({"error": said}, status=status))
    assert type(error) is kind
    assert error.status == status


async def test_a_model_that_is_not_there_says_how_to_load_it(service: Any) -> None:
    """With its name, to be pasted."""
    answer = json_answer({"error": "model 'qwen3:8b' not found"}, status=404)
    assert "`ollama pull qwen3:8b`" in str(await service.fails(answer, model="qwen3:8b"))


async def test_an_error_in_a_stream_is_one(service: Any, line: Any) -> None:
    """The status was 200 long before."""
    with pytest.raises(ServerError, match="an error was encountered"):
        await service.stream([line(content="Half"), b'{"error": "an error was encountered while running the model"}\n'])


@pytest.mark.parametrize("word", ["load", "unload"])
async def test_a_model_that_is_only_loaded_has_not_answered(service: Any, good: Any, word: str) -> None:
    """The same may be sent again."""
    error = await service.fails(good | {"message": {"content": ""}, "done_reason": word})
    assert isinstance(error, NotReadyError)


@pytest.mark.parametrize(
    "body", [[], {}, {"message": "Yes."}, {"message": {"tool_calls": {"a": 1}}}, {"message": {"tool_calls": [5]}}]
)
async def test_what_is_no_answer_is_a_protocol_error(service: Any, body: Any) -> None:
    """Whatever stands where the message should."""
    assert isinstance(await service.fails(json_answer(body)), ProtocolError)


async def test_a_service_that_does_not_run_says_what_to_start(connect: Any) -> None:
    """The port is a free one."""
    async with ScriptedUpstream() as upstream:
        url = upstream.url
    ollama = Ollama(model="m", base_url=url)
    async with ollama:
        with pytest.raises(ConnectError, match="does `ollama serve` run there"):
            await ollama.list_models()


async def test_a_key_goes_to_the_service_and_is_never_shown(
    service: Any, good: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the environment is for ollama.com or the address in OLLAMA_HOST; a cloud without one is not called."""
    key = "canary-5d0b91f2c6"
    error = await service.fails(json_answer({"error": f"bad key {key}"}, status=401), api_key=key)
    assert service.upstream.requests[0].headers["authorization"] == f"Bearer {key}"
    assert key not in str(error)
    monkeypatch.setenv("OLLAMA_API_KEY", key)
    await service.send(good)
    assert "authorization" not in service.upstream.requests[0].headers
    monkeypatch.delenv("OLLAMA_API_KEY")
    with pytest.raises(NotConfiguredError, match="OLLAMA_API_KEY"):
        Ollama(model="gpt-oss:120b", base_url="https://ollama.com").open_client()


def test_a_wire_is_made_for_a_connector() -> None:
    """As the toolkit asks for it: streams are JSON themselves."""
    assert not make_wire(Ollama(model="m")).json_in_streams
