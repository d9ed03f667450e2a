"""Answers as services really send them: what differs from the standard and can be read is read, whole and streamed.

Each kind by an example over a socket, and generated variants of its grammar.
"""

from __future__ import annotations

import gzip
import json
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from nexus_openai.embeddings import read_embeddings, read_relevance
from nexus_openai.response_parsing import read_completion

from nexus_core import Completion, ConnectorError, Pipeline, ProtocolError, ServerError, TruncatedError
from nexus_core.testing.upstream import (
    DONE,
    ScriptedUpstream,
    completion,
    delta,
    error_body,
    event,
    http_answer,
    http_chunk,
    http_head,
    json_answer,
    stream_answer,
    usage_chunk,
)
from nexus_core.toolkit import InBandError

TEXT = "Yes, until six."


def parts(*deltas: Any, reason: Any = "stop") -> list[dict[str, Any]]:
    """Return the events of a stream, the usage included."""
    choices = [{"index": 0, "delta": each, "finish_reason": None} for each in deltas]
    last = {"index": 0, "delta": {}, "finish_reason": reason}
    return [*(delta(choices=[choice]) for choice in [*choices, last]), usage_chunk()]


EVENTS = [json.dumps(each) for each in parts({"role": "assistant", "content": ""}, {"content": "Yes, "},
                                             {"content": "until six."})]  # fmt: skip
BLANK = "data: {}\n\n"
LAYOUTS: dict[str, str] = {
    "standard": "data: {}\n\n", "crlf": "data: {}\r\n\r\n", "no-space": "data:{}\n\n", "blanks": "   data: {}\n\n",
    "tab": "\tdata: {}\n\n", "twice": "data: data: {}\n\n", "list": "data: [{}]\n\n", "capitals": "Data: {}\n\n",
    "single-newline": "data: {}\n", "single-crlf": "data:{}\r\n", "lines": "{}\n", "lines-apart": "{}\n\n",
    "named": "event: chat.completion.chunk\ndata: {}\n\n", "named-apart": "event: chunk\n\ndata: {}\n\n",
    "comments": ": ping\n\ndata: {}\n\n", "pings": "event: ping\ndata: ping\n\ndata: {}\n\n",
    "id": "id: 1\ndata: {}\n\n",
}  # fmt: skip
ENDS = [
    "data: [DONE]\n\n",
    "",
    'data: "[DONE]"\n\n',
    "data: [DONE]",
    "data:[done]\n\n",
    "event: done\n\ndata: [DONE]\n\n",
]
TYPES = ["text/event-stream", "application/json", "text/html; charset=utf-8", "application/x-ndjson", "text/plain"]


def laid_out(layout: str, end: str) -> bytes:
    return "".join([*(layout.replace("{}", each) for each in EVENTS), end]).encode()


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_stream_that_nobody_asked_for_is_read(layout: str, end: str) -> None:
    """Whatever it looks like: the events are put together."""
    answer = read_completion(laid_out(layout, end))
    assert (answer.text, answer.finish_reason, answer.usage.prompt_tokens) == (TEXT, "stop", 7)


@pytest.mark.parametrize("kind", TYPES)
async def test_streams_of_every_layout_are_read(service: Any, kind: str) -> None:
    """Under any content type, and cut anywhere."""
    for number, layout in enumerate(LAYOUTS.values()):
        body = laid_out(layout, ENDS[number % len(ENDS)])
        pieces = [body[:number], body[number : number + 70], body[number + 70 :]]
        head = http_head({"Content-Type": kind, "Transfer-Encoding": "chunked"})
        text, last = await service.streamed([head, *map(http_chunk, filter(None, pieces)), b"0\r\n\r\n"])
        assert (text, getattr(last, "finish_reason", last)) == (TEXT, "stop")
        assert last.usage.prompt_tokens == 7


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_streams_that_are_cut_are_no_answers(layout: str) -> None:
    """Wherever: without the finish reason nothing is whole."""
    body = laid_out(layout, "")
    for at in range(0, body.index(b'"finish_reason": "stop"'), 23):
        with pytest.raises((TruncatedError, ProtocolError)):
            read_completion(body[:at])


WHOLE = json.dumps(completion(TEXT))
WRAPPED = {
    "bom": f"\ufeff{WHOLE}", "list": f"[{WHOLE}]", "done": f"{WHOLE}\n\ndata: [DONE]\n\n", "nul": f"{WHOLE}\n\0\n",
    "comma": f"{WHOLE[:-1]},}}", "nan": f'{{"logprobs": NaN, {WHOLE[1:]}', "blank": f"\n\n\n   {WHOLE}",
    "event": f"data: {WHOLE}\n\ndata: [DONE]\n\n", "pretty": json.dumps(completion(TEXT), indent=1) + "\ndata: [DONE]",
}  # fmt: skip


@pytest.mark.parametrize("body", WRAPPED.values(), ids=WRAPPED)
async def test_whole_answer_in_a_wrapping_is_read(service: Any, body: str) -> None:
    """Where one was asked for, and where a stream was."""
    script = http_answer(body.encode(), content_type="application/json")
    assert (await service.send(script)).text == TEXT
    text, last = await service.streamed(script)
    assert (text, last.finish_reason, last.usage.prompt_tokens) == (TEXT, "stop", 7)


THOUGHT = [{"type": "text", "text": "tide"}]
SAID: dict[str, Any] = {
    "parts": {"content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": TEXT}]},
    "thinking-text": {"content": [{"type": "thinking", "thinking": "tide"}, {"type": "text", "text": TEXT}]},
    "output-text": {"content": [{"type": "reasoning", "summary": THOUGHT}, {"type": "output_text", "text": TEXT}]},
    "unknown-parts": {"content": [{"type": "reference", "reference_ids": [1]}, {"type": "text", "text": TEXT}],
                      "reasoning": "tide"},
    "no-type": {"content": [{"text": "Yes, "}, {"text": "until six."}], "thinking": "tide"},
    "one-part": {"content": {"type": "text", "text": TEXT}, "reasoning": {"content": "tide"}},
    "two-names": {"content": TEXT, "reasoning_content": "", "reasoning": "tide"},
    "details": {"content": TEXT, "reasoning_details": [{"type": "reasoning.text", "text": "tide"}]},
    "blocks": {"content": TEXT, "thinking_blocks": [{"type": "thinking", "thinking": "tide", "signature": "x"}]},
    "nulls": {"content": TEXT, "reasoning_content": THOUGHT, "tool_calls": None, "function_call": None, "audio": None},
    **{tag: {"content": f"<{tag}>\ntide\n</{tag}>\n\n{TEXT}"} for tag in ("think", "thinking", "thought", "THINK")},
}  # fmt: skip


@pytest.mark.parametrize("role", [{}, {"role": "assistant"}, {"role": None, "name": "x"}], ids=repr)
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_text_and_reasoning_are_told_apart(said: dict[str, Any], role: dict[str, Any]) -> None:
    """In whole answers, in deltas, and in messages that stand in their place."""
    message = {**role, **said}
    choices = [
        {"index": 0, "message": message, "finish_reason": "stop"},
        {"index": "0", "delta": message, "finish_reason": "stop"},
    ]
    for choice in choices:
        for body in (json.dumps({"choices": [choice]}), f"data: {json.dumps(delta(choices=[choice]))}\n\n"):
            answer = read_completion(body.encode())
            assert (answer.text, answer.reasoning.strip()) == (TEXT, "tide")


def test_content_marked_as_thought_is_reasoning() -> None:
    """Gemini marks it beside the content, with and without tags."""
    marked = {"extra_content": {"google": {"thought": True}}}
    for thought, text in (("tide", TEXT), ("<thought>tide", f"</thought>{TEXT}"), ("<thought>tide</thought>", TEXT)):
        events = parts({"content": thought, **marked}, {"content": text})
        answer = read_completion("".join(f"data: {json.dumps(each)}\n\n" for each in events).encode())
        assert (answer.text, answer.reasoning) == (TEXT, "tide")


@pytest.mark.parametrize("empty", [[], {}], ids=repr)
async def test_empty_delta_says_nothing(service: Any, empty: Any) -> None:
    """PHP writes `[]` for an object without fields."""
    text, last = await service.streamed(stream_answer([*map(event, parts(empty, {"content": TEXT}, empty)), DONE]))
    assert (text, last.finish_reason) == (TEXT, "stop")


ERRORS = {
    "array": "data: [{}]\n\n", "bare": "{}\n", "bare-at-the-end": "{}", "bare-apart": "\n{}\n\n",
    "event": "data: {}\n\n",
    "name-apart": "event: error\n\ndata: {}\n\n",
}  # fmt: skip


@pytest.mark.parametrize("layout", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("indent", [None, 1], ids=["line", "pretty"])
async def test_error_within_a_stream_keeps_its_words(service: Any, layout: str, indent: int | None) -> None:
    """However it is written."""
    error = json.dumps(error_body("CUDA out of memory", type="server_error", code=500), indent=indent)
    if indent and "data" in layout:
        error = error.replace("\n", "\ndata: ")
    said = layout.replace("{}", error).encode()
    _, failure = await service.streamed(stream_answer([event(delta("Yes, ")), said]))
    assert type(failure) is ServerError
    assert "CUDA out of memory" in str(failure)


def _deflate(data: bytes) -> bytes:
    return zlib.compress(data)


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_compressed_answers_are_read(service: Any, encoding: str, streamed: bool) -> None:
    """Although nobody asked for it."""
    pack = {"gzip": gzip.compress, "deflate": _deflate, "raw-deflate": _raw_deflate}[encoding]
    body = laid_out(LAYOUTS["standard"], ENDS[0]) if streamed else WHOLE.encode()
    head = {"Content-Encoding": encoding.removeprefix("raw-")}
    script = http_answer(pack(body), content_type="text/event-stream" if streamed else "application/json", headers=head)
    assert (await service.streamed(script))[0] == TEXT if streamed else (await service.send(script)).text == TEXT


@pytest.mark.parametrize("wbits", [31, 15, -15], ids=["gzip", "deflate", "raw-deflate"])
async def test_events_that_are_flushed_one_by_one_are_read(service: Any, wbits: int) -> None:
    """Each in a chunk of its own."""
    packer = zlib.compressobj(wbits=wbits)
    chunks = [
        http_chunk(packer.compress(f"data: {each}\n\n".encode()) + packer.flush(zlib.Z_SYNC_FLUSH)) for each in EVENTS
    ]
    encoding = "gzip" if wbits == 31 else "deflate"
    head = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", "Content-Encoding": encoding}
    text, last = await service.streamed([http_head(head), *chunks, http_chunk(packer.flush()), b"0\r\n\r\n"])
    assert (text, last.usage.prompt_tokens) == (TEXT, 7)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "x-lz4"])
async def test_encoding_without_a_decoder_is_named(service: Any, encoding: str) -> None:
    """And where a decoder is installed, what it cannot read is an error as well."""
    error = await service.fails(http_answer(b"\xff" * 20, headers={"Content-Encoding": encoding}))
    assert (type(error), error.code) == (ProtocolError, "encoding")
    assert encoding in str(error)
    module = {"br": "brotli", "zstd": "backports"}.get(encoding, "")
    assert error.__context__ is None or module


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("data", [b"\xff" * 20, b"\x01\x02\x03"], ids=["bits", "start"])
async def test_bytes_that_are_not_encoded_as_they_claim_name_the_encoding(
    service: Any, encoding: str, data: bytes
) -> None:
    """Wherever the decoder notices."""
    error = await service.fails(http_answer(data, headers={"Content-Encoding": encoding}))
    assert (type(error), error.code, encoding in str(error)) == (ProtocolError, "encoding", True)


@pytest.mark.parametrize("value", ["20", True, -1, 1.5, [1]], ids=repr)
async def test_usage_without_counts_is_estimated_and_warned_of_once(tmp_path: Path, caplog: Any, value: Any) -> None:
    """It costs the usage, never the answer."""
    answer = json_answer(completion("Yes.", usage={"prompt_tokens": value, "completion_tokens": 5}))
    file = tmp_path / "x.yaml"
    async with ScriptedUpstream(answer) as upstream:
        file.write_text(f"name: x\nmodels: {{main: {{use: openai, model: m, base_url: '{upstream.url}'}}}}\n"
                        "steps: [generate: main]\n")  # fmt: skip
        async with Pipeline.load(file) as pipeline:
            for _ in range(3):
                done = await pipeline.run("Open?")
                assert (done.text, done.usage.source, done.attempts[-1].usage_source) == ("Yes.", *["estimated"] * 2)
    assert sum("holds no counts" in record.getMessage() for record in caplog.records) == 1


SCORES = [("relevance_score", "results"), ("score", "results"), ("relevance_score", "data"), ("score", "")]


@pytest.mark.parametrize(("name", "key"), SCORES, ids=repr)
@pytest.mark.parametrize("index", [int, str], ids=["number", "text"])
@pytest.mark.parametrize("within", [False, True], ids=["top", "output"])
def test_relevance_is_read_from_every_list(name: str, key: str, index: Any, within: bool) -> None:
    """Cohere, Voyage, TEI, DashScope, vLLM; a usage that is no count costs nothing."""
    found: Any = [{"index": index(1), name: 0.9, "document": {"text": "b"}}, {"index": index(0), name: 0.1}]
    answer = {key: found, "usage": {"prompt_tokens": "9"}} if key else found
    data = json.dumps({"output": answer} if within else answer).encode()
    assert list(read_relevance(data, count=2)) == [0.1, 0.9]


EMBEDDED: dict[str, Any] = {
    "openai": {"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}]},
    "zero-left-out": {"data": [{"embedding": [1, 0]}, {"index": 1, "embedding": [0, 1]}]},
    "ollama": {"model": "m", "embeddings": [[1, 0], [0, 1]]},
    "cohere": {"embeddings": {"float": [[1, 0], [0, 1]]}},
    "gemini": {"embeddings": [{"values": [1, 0]}, {"values": [0, 1]}]},
    "dashscope": {"output": {"embeddings": [{"text_index": n, "embedding": [1 - n, n]} for n in (1, 0)]}},
    "list": [{"index": 0, "embedding": [1, 0]}, {"index": 1, "embedding": [0, 1]}],
    "llama.cpp": [{"index": 0, "embedding": [[1, 0]]}, {"index": 1, "embedding": [[0, 1]]}],
}  # fmt: skip


@pytest.mark.parametrize("answer", EMBEDDED.values(), ids=EMBEDDED)
def test_embeddings_are_read_from_every_list(answer: Any) -> None:
    """In the order of the texts."""
    assert [list(vector) for vector in read_embeddings(json.dumps(answer).encode(), count=2)] == [[1, 0], [0, 1]]


@pytest.mark.parametrize("number", ["NaN", "null", "Infinity", '"1"', "[]"])
@pytest.mark.parametrize("answer", EMBEDDED.values(), ids=EMBEDDED)
def test_vector_without_numbers_is_an_error(answer: Any, number: str) -> None:
    """Wherever it stands."""
    data = json.dumps(answer).replace("[1, 0]", f"[1, {number}]").encode()
    with pytest.raises(ConnectorError):
        read_embeddings(data, count=2)


FLAT = {"id": "a", "name": "tide", "arguments": "{}"}


@pytest.mark.parametrize("calls", [{"id": "a", "function": FLAT}, [None, FLAT]], ids=["object", "flat"])
def test_call_outside_a_list_or_a_function_is_read(calls: Any) -> None:
    """As an object in place of a list, beside nulls, and without `function` around it."""
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    done = read_completion(json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode())
    assert [(call.id, call.name, call.arguments) for call in done.tool_calls] == [("a", "tide", "{}")]


def test_null_among_parts_is_skipped_and_words_beside_usage_are_an_error() -> None:
    """Neither costs what stands beside it."""
    message = {"content": [None, {"type": "text", "text": TEXT}]}
    assert read_completion(json.dumps({"choices": [{"message": message}]}).encode()).text == TEXT
    with pytest.raises(InBandError):
        read_completion(b'{"choices": null, "usage": {"prompt_tokens": 1}, "message": "model overloaded"}')


REASONS = {
    "stop": "STOP eos end_turn StopSequence FinishReason.STOP <|im_end|> stop_str",
    "length": "MAX_TOKENS max-tokens maxTokens time_limit FINISH_REASON_MAX_TOKENS length_capped",
    "content_filter": "SAFETY content-filter contentFiltered guardrail_intervened", "tool_calls": "tool_use tool-calls",
}  # fmt: skip
SPELLED = [(word, reason) for reason, words in REASONS.items() for word in words.split()]


@pytest.mark.parametrize(("spelled", "change"), list(product(SPELLED, [str, str.upper, str.lower])), ids=str)
def test_finish_reasons_are_compared_without_case_and_signs(spelled: tuple[str, str], change: Any) -> None:
    """An object that holds the word is read, too."""
    word, reason = spelled
    said: Any
    for said in (change(word), {"type": change(word)}):
        answer: Completion = read_completion(json.dumps(completion("a", finish_reason=said)).encode())
        assert (answer.finish_reason, answer.native_finish_reason) == (reason, "")
