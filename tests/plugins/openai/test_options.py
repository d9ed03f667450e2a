"""Options: what they make of the request, of the model's figures, and of a missing key."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from nexus_openai.connector import OpenAI

from nexus_core import (
    CallOptions,
    Connector,
    ConnectorError,
    InvalidRequestError,
    Message,
    NotConfiguredError,
    Prompt,
    Secret,
)
from nexus_core.contract.components import Kind, component_name, component_summary, options_of
from nexus_core.testing.upstream import ScriptedUpstream, Step, chat_events, completion, json_answer, stream_answer

YES = json_answer(completion("Yes."))
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is the harbour open on Sundays?"},
]


async def test_request_holds_only_what_is_set(service: Any) -> None:
    """Model and messages; nothing that nobody asked for."""
    await service.send(YES)
    assert service.sent == {"model": "test-model", "messages": MESSAGES}
    request = service.upstream.requests[0]
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.headers["content-type"] == "application/json"


async def test_request_holds_every_option(service: Any) -> None:
    """Also zeros, and what the model alone knows."""
    options = CallOptions(
        temperature=0, max_tokens=5, stop=("a", "b"), top_p=0.5, frequency_penalty=0.0, presence_penalty=-1,
        extra={"seed": 7, "response_format": {"type": "json_object"}},
    )  # fmt: skip
    await service.send(YES, options)
    assert service.sent == {
        "model": "test-model", "messages": MESSAGES, "temperature": 0, "max_tokens": 5, "stop": ["a", "b"],
        "top_p": 0.5, "frequency_penalty": 0.0, "presence_penalty": -1, "seed": 7,
        "response_format": {"type": "json_object"},
    }  # fmt: skip


async def test_reasoning_models_get_what_they_take(service: Any) -> None:
    """Their own name for the limit, and none of the options they refuse."""
    options = CallOptions(temperature=0, max_tokens=5, stop=("a",), top_p=1, extra={"reasoning_effort": "low"})
    await service.send(YES, options, model="o4-mini")
    expected = {"model": "o4-mini", "messages": MESSAGES, "max_completion_tokens": 5, "reasoning_effort": "low"}
    assert service.sent == expected


@pytest.mark.parametrize("name", ["model", "messages", "prompt", "stream"])
async def test_extra_cannot_take_over(service: Any, name: str) -> None:
    """What the connector itself sends is not for the caller to set."""
    async with ScriptedUpstream(YES) as upstream:
        openai = OpenAI(model="m", base_url=upstream.url)
        with pytest.raises(InvalidRequestError, match=name) as caught:
            await openai.send_prompt(Prompt(messages=()), CallOptions(extra={name: 1}))
        await openai.__aexit__(None, None, None)
        assert (upstream.requests, caught.value.request_sent, caught.value.model) == ([], False, "m")


@pytest.mark.parametrize("value", [object(), {1, 2}, {1: "a"}.keys(), float], ids=lambda value: type(value).__name__)
async def test_extra_must_be_json(connect: Any, prompt: Prompt, value: Any) -> None:
    """What cannot be sent is refused before anything is."""
    async with ScriptedUpstream(YES) as upstream, connect(upstream) as openai:
        with pytest.raises(InvalidRequestError, match="no JSON") as caught:
            await openai.send_prompt(prompt, CallOptions(extra={"x": value}))
        assert (upstream.requests, caught.value.request_sent) == ([], False)


async def test_lone_surrogates_of_a_prompt_are_replaced(connect: Any) -> None:
    """Text of a badly decoded file is sent as well as it can be."""
    prompt = Prompt(messages=(Message("user", "a\udcffb \ud83d\ude42"),))
    async with ScriptedUpstream(YES) as upstream, connect(upstream) as openai:
        await openai.send_prompt(prompt, CallOptions())
        assert upstream.requests[0].json()["messages"][0]["content"] == "a\ufffdb 🙂"


@pytest.mark.parametrize("include_usage", [True, False])
async def test_streams_ask_for_their_usage(service: Any, include_usage: bool) -> None:
    """Unless the service refuses to be asked."""
    await service.stream(stream_answer(chat_events("a")), include_usage=include_usage)
    expected = {"model": "test-model", "messages": MESSAGES, "stream": True}
    assert service.sent == {**expected, **({"stream_options": {"include_usage": True}} if include_usage else {})}


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"model": "davinci-002"}, "/v1/completions"),
        ({"model": "davinci-002", "endpoint": "chat"}, "/v1/chat/completions"),
        ({"model": "test-model", "endpoint": "completions"}, "/v1/completions"),
        ({"query": {"api-version": "2024-10-21"}}, "/v1/chat/completions?api-version=2024-10-21"),
    ],
    ids=["legacy", "chat-by-force", "legacy-by-force", "query"],
)
async def test_endpoint(service: Any, fields: dict[str, Any], target: str) -> None:
    """By the table of models, or as the option says."""
    await service.send(json_answer(completion("", choices=[{"text": "Yes.", "finish_reason": "stop"}])), **fields)
    assert service.upstream.requests[0].target == target


async def test_legacy_models_get_one_text(service: Any) -> None:
    """Roles become words; a single message stands as it is."""
    answer = json_answer(completion("", choices=[{"text": " Yes.", "finish_reason": "stop"}]))
    done = await service.send(answer, CallOptions(max_tokens=9), model="davinci-002")
    text = "System: Be brief.\n\nUser: Is the harbour open on Sundays?\n\nAssistant:"
    assert service.sent == {"model": "davinci-002", "prompt": text, "max_tokens": 9}
    assert done.text == " Yes."


async def test_headers(service: Any) -> None:
    """Key, organization, project and what else is given; what is empty is left out."""
    fields = {"organization": "org-1", "project": "", "headers": {"X-Title": Secret("me"), "X-Empty": Secret(" ")}}
    await service.send(YES, api_key=Secret(" sk-key\n"), **fields)
    headers = service.upstream.requests[0].headers
    assert (headers["authorization"], headers["openai-organization"], headers["x-title"]) == (
        "Bearer sk-key", "org-1", "me",
    )  # fmt: skip
    assert not {"openai-project", "x-empty", "cookie"} & set(headers)
    assert headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("fields", "environ", "sent"),
    [
        ({}, {}, None),
        ({"api_key": Secret("own")}, {"OPENAI_API_KEY": "env"}, "own"),
        ({}, {"OPENAI_API_KEY": "env"}, None),
        ({"base_url": None}, {"OPENAI_API_KEY": "env", "OPENAI_BASE_URL": "{url}"}, "env"),
        ({"base_url": "", "api_key": Secret("")}, {"OPENAI_API_KEY": " env ", "OPENAI_BASE_URL": "{url}/"}, "env"),
        ({}, {"OPENAI_API_KEY": "env", "OPENAI_BASE_URL": "{url}"}, "env"),
        ({"base_url": None}, {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "{url}"}, None),
    ],
    ids=["none", "own", "not-for-others", "both-from-environment", "empty-options", "same-address", "no-key"],
)
async def test_key_goes_only_where_it_belongs(
    monkeypatch: pytest.MonkeyPatch, prompt: Prompt, fields: dict[str, Any], environ: dict[str, str], sent: str | None
) -> None:
    """The environment's key is for OpenAI and the environment's address; another address gets its own key or none."""
    async with ScriptedUpstream(YES) as upstream:
        for name, value in environ.items():
            monkeypatch.setenv(name, value.replace("{url}", upstream.url))
        async with OpenAI(**{"model": "m", "base_url": upstream.url, **fields}) as openai:
            await openai.send_prompt(prompt, CallOptions())
        assert upstream.requests[0].headers.get("authorization") == (f"Bearer {sent}" if sent else None)


@pytest.mark.parametrize(
    "fields",
    [{}, {"api_key": Secret(" ")}, {"base_url": "https://eu.api.openai.com/v1"}, {"base_url": ""}],
    ids=["none", "blank", "region", "empty-address"],
)
async def test_missing_key_is_told_before_anything_is_sent(prompt: Prompt, fields: dict[str, Any]) -> None:
    """Whole, streamed or opened: the error names the variable."""
    openai = OpenAI(model="gpt-4o", **fields)
    with pytest.raises(NotConfiguredError, match="OPENAI_API_KEY") as caught:
        await openai.send_prompt(prompt, CallOptions())
    assert (caught.value.request_sent, caught.value.model) == (False, "gpt-4o")
    stream = openai.stream_response(prompt, CallOptions())
    with pytest.raises(NotConfiguredError):
        await anext(stream)
    with pytest.raises(NotConfiguredError):
        await openai.__aenter__()


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "ftp://example.org/hush"},
        {"base_url": "example.org/v1"},
        {"base_url": "https://hush@example.org"},
        {"base_url": "https://example.org/?key=hush"},
        {"base_url": "http://x", "api_key": Secret("hush\nlines")},
        {"base_url": "http://x", "headers": {"X": Secret("hush-é")}},
        {"base_url": "http://x", "headers": {"X: y": Secret("hush")}},
    ],
    ids=["scheme", "no-scheme", "user", "query", "newline", "latin", "name"],
)
async def test_what_cannot_be_sent_is_refused(prompt: Prompt, fields: dict[str, Any]) -> None:
    """Addresses and headers are checked before a connection is made, and not shown."""
    with pytest.raises(NotConfiguredError, match=r"base_url|header.* not ASCII: set it again") as caught:
        await OpenAI(model="m", **fields).send_prompt(prompt, CallOptions())
    assert "hush" not in str(caught.value)


@pytest.mark.slow
def test_missing_key_costs_no_import() -> None:
    """Neither declaring nor failing for want of a key loads a heavy library."""
    code = """
import asyncio, sys
from nexus_openai.connector import OpenAI, nexus_connectors
from nexus_core import CallOptions, NotConfiguredError, Prompt
openai = nexus_connectors()[0](model="gpt-4o")
assert openai.model_info.window == 128000
try:
    asyncio.run(openai.send_prompt(Prompt(messages=()), CallOptions()))
except NotConfiguredError:
    heavy = {"aiohttp", "orjson", "yarl", "numpy", "tiktoken"} & set(sys.modules)
    sys.exit(f"imported {heavy}" if heavy else 0)
sys.exit("no error")
"""
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("fields", "window", "max_output", "encoding"),
    [
        ({"model": "gpt-4o-mini"}, 128_000, 16_384, "o200k_base"),
        ({"model": "gpt-4o", "base_url": "http://localhost:1/v1"}, 128_000, 16_384, "o200k_base"),
        ({"model": "gpt-9"}, 8192, None, "o200k_base"),
        ({"model": "llama3.1", "base_url": "http://localhost:1/v1"}, 8192, None, "approximate"),
    ],
    ids=["known", "known-elsewhere", "unknown", "unknown-elsewhere"],
)
def test_model_info(fields: dict[str, Any], window: int, max_output: int | None, encoding: str) -> None:
    """The table's figures, or declared defaults."""
    info = OpenAI(**fields).model_info
    assert (info.id, info.provider) == (fields["model"], "openai")
    assert (info.window, info.max_output, info.encoding) == (window, max_output, encoding)
    assert (info.tokens_per_message, info.tokens_per_prompt) == (3, 3)
    assert "streaming" in info.capabilities


def test_connector_is_declared() -> None:
    """A connector by its methods, with a name, a summary and a line for each option."""
    assert isinstance(OpenAI(model="m"), Connector)
    assert component_name(OpenAI) == "openai"
    assert component_summary(OpenAI).endswith(".")
    assert all(option.help.endswith(".") for option in options_of(OpenAI))
    assert Kind.CONNECTOR.word == "connector"


def test_plain_strings_from_python_are_hidden_too() -> None:
    """Who forgets to wrap a key does not find it in a traceback."""
    openai = OpenAI(model="m", api_key="plain-key-1", headers={"api-key": "plain-key-2"})  # type: ignore[arg-type, dict-item]
    assert "plain-key" not in repr(openai)


async def test_one_session_for_whole_and_streamed_answers(connect: Any, prompt: Prompt) -> None:
    """A connector opens once, and can be closed twice."""
    script: list[Step] = stream_answer(chat_events("a"))
    async with ScriptedUpstream(YES, script) as upstream:
        openai = connect(upstream)
        async with openai:
            await openai.send_prompt(prompt, CallOptions())
            assert [chunk.text async for chunk in openai.stream_response(prompt, CallOptions())] == ["", "a", ""]
            assert len(upstream.connections) == 1
        await openai.__aexit__(None, None, None)


async def test_connector_without_a_session_opens_one(prompt: Prompt) -> None:
    """A call may come before `async with`; whoever made it closes."""
    async with ScriptedUpstream(YES) as upstream:
        openai = OpenAI(model="m", base_url=upstream.url)
        try:
            assert (await openai.send_prompt(prompt, CallOptions())).text == "Yes."
        finally:
            await openai.__aexit__(None, None, None)


async def test_closing_ends_what_is_under_way(connect: Any, prompt: Prompt) -> None:
    """A stream whose connector is closed ends in an error of ours."""
    async with ScriptedUpstream(stream_answer(chat_events("a")[:2], ends=False)) as upstream:
        openai = connect(upstream)
        stream = openai.stream_response(prompt, CallOptions())
        assert (await anext(stream)).transfer is not None
        assert (await anext(stream)).text == "a"
        await openai.__aexit__(None, None, None)
        with pytest.raises(ConnectorError):
            await anext(stream)
