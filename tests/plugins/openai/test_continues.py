"""A broken stream goes on at another service, which is told in its own way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from nexus_openai.connector import OpenAI

from nexus_core import CallOptions, Delta, Message, Pipeline, Prompt, RunFailed, RunFinished
from nexus_core.testing.upstream import (
    Reset,
    Script,
    ScriptedUpstream,
    chat_events,
    completion,
    json_answer,
    stream_answer,
)

PIPELINE = """name: going-on
on_stream_failure: continue
models:
  main: {{use: openai, model: m, base_url: "{main}", fallback: spare}}
  spare: {{use: openai, model: s, base_url: "{spare}"{option}}}
steps:
  - generate: main
"""
BROKEN = stream_answer([*chat_events("The harbour ", "is open")[:3], Reset()], ends=False)
REST = stream_answer(chat_events(" on Sundays."))
ENDING = {"role": "assistant", "content": "The harbour is open"}


async def streamed(folder: Path, option: str) -> tuple[str, Any, ScriptedUpstream]:
    """Return what a reader has in the end, the last event, and the second service."""
    async with ScriptedUpstream(BROKEN) as main, ScriptedUpstream(REST) as spare:
        file = folder / "going-on.yaml"
        file.write_text(PIPELINE.format(main=main.url, spare=spare.url, option=option))
        async with Pipeline.load(file) as pipeline:
            events = [event async for event in pipeline.stream("Is the harbour open?")]
    return "".join(event.text for event in events if isinstance(event, Delta)), events[-1], spare


async def sent(script: Script, prompt: Prompt, **fields: Any) -> Any:
    """Return the body of the request that a connector makes for a prompt."""
    async with ScriptedUpstream(script) as upstream, OpenAI(model="m", base_url=upstream.url, **fields) as openai:
        await openai.send_prompt(prompt, CallOptions())
    return upstream.requests[0].json()


async def test_another_service_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The reader sees one text without repetition, the answer is that text, and each request is in the ledger."""
    text, last, spare = await streamed(tmp_path, ", continues: final_message")
    assert isinstance(last, RunFinished)
    assert last.answer is not None
    assert text == last.answer.text == "The harbour is open on Sundays."
    assert [row.outcome for row in last.answer.attempts] == ["truncated", "ok"]
    body = spare.requests[0].json()
    assert body["messages"] == [{"role": "user", "content": "Is the harbour open?"}, ENDING]
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert not caplog.records


async def test_service_that_cannot_go_on_is_not_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Loading says that the policy has no effect; the stream fails and keeps its text."""
    text, last, spare = await streamed(tmp_path, "")
    assert isinstance(last, RunFailed)
    assert (text, last.partial, spare.requests) == ("The harbour is open", "The harbour is open", [])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "`on_stream_failure: continue` has no effect" in record.message


@pytest.mark.parametrize(
    ("way", "message", "fields"),
    [
        ("plain", ENDING, {}),
        ("prefix", {**ENDING, "prefix": True}, {}),
        ("final_message", ENDING, {"add_generation_prompt": False, "continue_final_message": True}),
    ],
    ids=["plain", "prefix", "final message"],
)
@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "begins"])
async def test_service_is_told_only_where_it_goes_on(
    prompt: Prompt, way: Any, message: dict[str, Any], fields: dict[str, Any], goes_on: bool
) -> None:
    """A prompt that ends with the user's message is sent as by everybody."""
    asked = Message("assistant", ENDING["content"]) if goes_on else Message("user", "Well?")
    body = await sent(json_answer(completion(".")), evolve(prompt, messages=(*prompt.messages, asked)), continues=way)
    assert body.pop("messages")[-1] == (message if goes_on else {"role": "user", "content": "Well?"})
    assert body == {"model": "m", **(fields if goes_on else {})}


async def test_text_ends_with_the_beginning_of_the_answer(prompt: Prompt) -> None:
    """On the completions endpoint nothing more is asked for."""
    answer = {**completion(None), "choices": [{"index": 0, "text": ".", "finish_reason": "stop"}]}
    messages = (*prompt.messages, Message("assistant", "It is"))
    body = await sent(json_answer(answer), evolve(prompt, messages=messages), endpoint="completions", continues="plain")
    assert body["prompt"].endswith("\n\nAssistant: It is")


@pytest.mark.parametrize("way", [None, "plain", "prefix", "final_message"])
def test_capability_is_declared(way: Any) -> None:
    """OpenAI itself begins anew, so that nothing is declared without the option."""
    assert ("continue" in OpenAI(model="gpt-4o", continues=way).model_info.capabilities) == (way is not None)
