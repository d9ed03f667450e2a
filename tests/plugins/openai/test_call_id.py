"""The id of a logical call at the wire: the same with each of its requests (fault 39)."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from nexus_openai.connector import OpenAI

from nexus_core import CallOptions, Pipeline, Prompt, Secret
from nexus_core.testing.upstream import (
    ReceivedRequest,
    ScriptedUpstream,
    chat_events,
    completion,
    error_body,
    json_answer,
    stream_answer,
)

PIPELINE = """name: two
models:
  main: {{use: openai, model: m, base_url: "{main}", fallback: spare, retry: {{attempts: 2, first_wait: 0s}}}}
  spare: {{use: openai, model: s, base_url: "{spare}"}}
steps:
  - generate: main
"""
BUSY = json_answer(error_body("busy"), status=503)
FINE = json_answer(completion("Yes."))


def call_ids(*upstreams: ScriptedUpstream) -> list[str | None]:
    """Return the header of each request that came, in the order of the upstreams."""
    return [header(request) for upstream in upstreams for request in upstream.requests]


def header(request: ReceivedRequest) -> str | None:
    return request.headers.get("x-client-request-id")


async def test_all_attempts_of_a_call_carry_its_id(tmp_path: Path) -> None:
    """Fault 39: three attempts over two targets have one id, that of the ledger; the next call has another."""
    async with ScriptedUpstream(BUSY, BUSY, FINE) as main, ScriptedUpstream(FINE) as spare:
        file = tmp_path / "two.yaml"
        file.write_text(PIPELINE.format(main=main.url, spare=spare.url))
        async with Pipeline.load(file) as pipeline:
            first, second = await pipeline.run("Why?"), await pipeline.run("Why not?")
    assert [row.number for row in first.attempts] == [1, 2, 3]
    assert {row.call_id for row in first.attempts} == {first.prompt.call_id}
    one, other = first.prompt.call_id, second.prompt.call_id
    assert call_ids(main, spare) == [one, one, other, one]
    assert one != other


async def test_stream_carries_the_id_too(tmp_path: Path) -> None:
    """A caller's own run id is in it, so that a request can be found at the service."""
    async with ScriptedUpstream(stream_answer(chat_events("Yes."))) as main:
        file = tmp_path / "two.yaml"
        file.write_text(PIPELINE.format(main=main.url, spare=main.url))
        async with Pipeline.load(file) as pipeline:
            _ = [event async for event in pipeline.stream("Why?", run_id="order-66")]
    assert call_ids(main) == ["order-66.0"]


@pytest.mark.parametrize("call_id", ["é.0", "a b", "x\r\ny: z", "i" * 513], ids=["accent", "space", "break", "long"])
async def test_id_that_no_header_may_carry_is_sent_as_its_hash(prompt: Prompt, call_id: str) -> None:
    """Always ASCII, at most 512 characters, and still the same for all attempts."""
    async with ScriptedUpstream(FINE) as upstream, connected(upstream) as openai:
        for _ in range(2):
            await openai.send_prompt(evolve(prompt, call_id=call_id), CallOptions())
    first, second = call_ids(upstream)
    assert first == second
    assert first is not None
    assert len(first) == 64


@pytest.mark.parametrize(("own", "sent"), [("mine", "mine"), ("", None)], ids=["own", "left out"])
async def test_header_of_the_pipeline_stands_over_the_id(prompt: Prompt, own: str, sent: str | None) -> None:
    """Whatever its case; an empty one leaves the header out."""
    headers = {"x-client-request-ID": Secret(own)}
    async with ScriptedUpstream(FINE) as upstream, connected(upstream, headers=headers) as openai:
        await openai.send_prompt(evolve(prompt, call_id="c.0"), CallOptions())
    assert call_ids(upstream) == [sent]


async def test_prompt_without_an_id_has_no_header(prompt: Prompt) -> None:
    """Outside of a run nobody knows of calls."""
    async with ScriptedUpstream(FINE) as upstream, connected(upstream) as openai:
        await openai.send_prompt(prompt, CallOptions())
    assert call_ids(upstream) == [None]


def connected(upstream: ScriptedUpstream, **fields: object) -> OpenAI:
    return OpenAI(model="m", base_url=upstream.url, **fields)  # type: ignore[arg-type]
