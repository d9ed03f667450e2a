"""The connector `openai` against llama.cpp's server with a real model: what scripted upstreams only claim."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ConnectError,
    ConnectorError,
    ContextLengthError,
    DisconnectedError,
    Message,
    NotReadyError,
    OverloadedError,
    Pipeline,
    Prompt,
    TruncatedError,
)

QUESTION = "Name a colour."
SCHEMA = {
    "type": "object",
    "properties": {"open": {"type": "boolean"}, "day": {"enum": ["Monday", "Sunday"]}},
    "required": ["open", "day"],
    "additionalProperties": False,
}
FREE_S = 0.5
"""How soon the slot of an answer that nobody reads any more is free."""


def prompt(text: str = QUESTION) -> Prompt:
    """Return a prompt of one message."""
    return Prompt(messages=(Message("user", text),))


def options(tokens: int, **more: Any) -> CallOptions:
    """Return options that give the same answer each time."""
    return CallOptions(temperature=0, max_tokens=tokens, **more)


async def streamed(connector: Any, asked: Prompt, given: CallOptions) -> tuple[str, Chunk]:
    """Return the text of a stream and its last chunk."""
    text, last = "", Chunk()
    async for last in connector.stream_response(asked, given):
        text += last.text
    return text, last


def prompt_tokens(server: Any, text: str = QUESTION) -> int:
    """Return how many tokens the server counts in a prompt, with its template."""
    said = server.get("/apply-template", {"messages": [{"role": "user", "content": text}]})
    tokens: int = server.tokens(said["prompt"])
    return tokens


async def test_a_whole_answer_has_the_counts_of_the_service(server: Any) -> None:
    """Those of the prompt with its template, and as many of the answer as were asked for."""
    async with server.connector() as connector:
        done = await connector.send_prompt(prompt(), options(6))
    assert (done.finish_reason, done.usage.completion_tokens) == ("length", 6)
    assert done.usage.prompt_tokens == prompt_tokens(server)
    assert done.text


async def test_a_streamed_answer_is_the_whole_one(server: Any) -> None:
    """The same text, finish reason and counts, in several chunks."""
    given = options(6, extra={"cache_prompt": False})
    async with server.connector() as connector:
        whole: Completion = await connector.send_prompt(prompt(), given)
        text, last = await streamed(connector, prompt(), given)
    assert (text, last.finish_reason) == (whole.text, whole.finish_reason)
    assert last.usage is not None
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens
    assert last.usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("how", ["whole", "streamed"])
async def test_a_prompt_over_the_window_is_refused_as_such(server: Any, how: str) -> None:
    """The service says so before it works on it, with a status and a type of its own."""
    long = prompt("word " * 2000)
    async with server.connector() as connector:
        with pytest.raises(ContextLengthError, match="context") as caught:
            await (connector.send_prompt(long, options(1)) if how == "whole" else streamed(connector, long, options(1)))
    assert caught.value.status == 400


async def test_a_schema_is_held_by_the_grammar_of_the_service(server: Any) -> None:
    """A model that never saw a question like it can only answer what the schema allows."""
    async with server.connector() as connector:
        done = await connector.send_prompt(prompt(), options(40, response_schema=SCHEMA))
    value = json.loads(done.text)
    assert value.keys() == {"open", "day"}
    assert (type(value["open"]), value["day"] in ("Monday", "Sunday")) == (bool, True)


async def test_a_pipeline_gets_a_value_that_matches_its_schema(server: Any, tmp_path: Path) -> None:
    """By the YAML alone, with the counts of the service in the usage."""
    model = {"use": "openai", "model": "gemma-3-270m", "like": "gpt-4o-mini", "base_url": f"{server.url}/v1"}
    options = {"temperature": 0, "max_tokens": 80}
    step = {"generate": {"model": "main", "schema": SCHEMA}}
    declared = {"name": "real", "models": {"main": {**model, "window": 512, "options": options}}, "steps": [step]}
    (tmp_path / "real.yaml").write_text(json.dumps(declared))  # JSON is YAML
    async with Pipeline.load(tmp_path / "real.yaml") as pipeline:
        answer = await pipeline.run(QUESTION)
    assert answer.value.keys() == {"open", "day"}
    assert answer.usage.prompt_tokens == prompt_tokens(server)


async def test_embeddings_are_those_of_the_service_with_its_counts(embedding_server: Any) -> None:
    """A vector for each text and the tokens of all; of one text alone the same numbers as by hand."""
    texts = ["The harbour is open.", "A red boat.", "Yes."]
    async with embedding_server.connector() as connector:
        vectors = await connector.embed(texts)
        alone = await connector.embed(texts[:1])
    assert [len(vector) for vector in vectors] == [640] * 3
    assert vectors.usage.prompt_tokens == sum(map(embedding_server.tokens, texts))
    by_hand = embedding_server.get("/v1/embeddings", {"input": texts[0]})["data"][0]["embedding"]
    # Not compared with the vectors of the request above: this server's differ where several texts share a batch.
    assert alone[0] == pytest.approx(by_hand, abs=1e-6)


async def test_two_calls_are_answered_at_once(server: Any) -> None:
    """Both slots are at work at one time, and each caller gets an answer of its own."""
    async with server.connector() as connector:
        asked = [asyncio.create_task(connector.send_prompt(prompt(text), options(12))) for text in ("One?", "Two?")]
        most = 0
        while not all(task.done() for task in asked):
            most = max(most, await asyncio.to_thread(server.busy))
        answers = [await task for task in asked]
    assert most == 2
    assert [done.usage.completion_tokens for done in answers] == [12, 12]


async def leave(connector: Any, server: Any) -> float:
    """Leave a stream in the middle of an answer, and return how long its slot is at work after that."""
    stream, seen = connector.stream_response(prompt(), options(400)), 0
    async for chunk in stream:
        seen += bool(chunk.text)
        if seen == 2:
            break
    assert await asyncio.to_thread(server.busy) == 1
    left = monotonic()
    await stream.aclose()
    while await asyncio.to_thread(server.busy):
        assert monotonic() - left < 30
    return monotonic() - left


async def test_a_stream_that_is_left_frees_its_slot(server: Any) -> None:
    """The service notices that nobody reads: with its next token, which a busy machine may take its time for."""
    async with server.connector() as connector:
        free_s = [await leave(connector, server) for _ in range(3)]
    print(f"\nthe slot was free after {', '.join(f'{s * 1000:.0f}' for s in free_s)} ms")
    assert min(free_s) < FREE_S


async def test_a_service_that_loads_its_model_is_not_ready(stopped_server: Any) -> None:
    """It is asked from its first moment on: no connection, then overloaded (503), then an answer."""
    stopped_server.start()
    said: list[ConnectorError] = []
    async with stopped_server.connector() as connector:
        for _ in range(6000):
            try:
                done = await connector.send_prompt(prompt(), options(2))
                break
            except ConnectorError as error:
                said.append(error)
                await asyncio.sleep(0.02)
    assert done.usage.completion_tokens == 2
    assert {type(error) for error in said} <= {ConnectError, DisconnectedError, NotReadyError, OverloadedError}
    loading = [error for error in said if error.status == 503]
    assert loading
    assert "Loading model" in str(loading[0])


async def test_a_service_that_is_killed_is_used_again_when_it_is_back(stopped_server: Any) -> None:
    """A stream is cut, then there is no connection, then an answer by the same connector."""
    stopped_server.start()
    stopped_server.wait()
    async with stopped_server.connector() as connector:
        stream = connector.stream_response(prompt(), options(400))
        async for chunk in stream:
            if chunk.text:
                break
        stopped_server.kill()
        with pytest.raises((TruncatedError, DisconnectedError, ConnectError)):
            [chunk async for chunk in stream]
        with pytest.raises(ConnectError):
            await connector.send_prompt(prompt(), options(2))
        stopped_server.start()
        stopped_server.wait()
        done = await connector.send_prompt(prompt(), options(2))
    assert done.usage.completion_tokens == 2
