"""The API of OpenAI, asked by OpenAI's own client and by raw requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import openai
import pytest

from nexus_core import Chunk, Completion, TruncatedError
from nexus_core.server.openai.chat_schema import ChatChunks

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running

QUESTION: Any = [{"role": "user", "content": "How many days of leave?"}]
TEXT = {"type": "text", "text": "How many?"}


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, for the running server."""
    async with openai.AsyncOpenAI(base_url=f"{running.origin}/v1", api_key="none", max_retries=0) as found:
        yield found


async def ask(running: Running, **more: Any) -> tuple[int, Any]:
    body = {"model": "nexus/talk", "messages": QUESTION, **more}
    return await running.call("POST", "/v1/chat/completions", json=body)


async def stream(running: Running, **more: Any) -> tuple[int, list[str]]:
    """Return the status and the events of a stream, as they came."""
    body = {"model": "nexus/talk", "messages": QUESTION, "stream": True, **more}
    async with running.session.post(f"{running.origin}/v1/chat/completions", json=body) as response:
        return response.status, [each for each in (await response.text()).split("\n\n") if each]


async def test_models_are_the_pipelines_and_their_contexts(client: openai.AsyncOpenAI) -> None:
    """A pipeline that takes a context is there with each of them; one with sources of its own is there once."""
    found = [model.id async for model in client.models.list()]
    assert found == [
        "nexus/quotes", "nexus/quotes/handbook", "nexus/talk", "nexus/talk/handbook", "nexus/own"
    ]  # fmt: skip
    assert (await client.models.retrieve("nexus/talk/handbook")).owned_by == "nexus"


@pytest.mark.parametrize("model", ["nexus/quotes", "nexus/quotes/handbook"])
async def test_client_gets_an_answer(client: openai.AsyncOpenAI, model: str) -> None:
    """The only context need not be named."""
    answer = await client.chat.completions.create(model=model, messages=QUESTION)
    assert "28 days of leave" in (answer.choices[0].message.content or "")
    assert (answer.choices[0].finish_reason, answer.object) == ("stop", "chat.completion")


async def test_client_gets_a_stream_with_usage(client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """The role comes first, then the text, then the reason of the end, then the usage."""
    fakes.connectors["main"].replies = ["28 days a year."]
    options: Any = {"messages": QUESTION, "stream_options": {"include_usage": True}}
    chunks = [each async for each in await client.chat.completions.create(model="nexus/talk", stream=True, **options)]
    assert (chunks[0].choices[0].delta.role, chunks[0].choices[0].delta.content) == ("assistant", "")
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "28 days a year."
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 10)
    assert {(each.id, each.model) for each in chunks} == {(chunks[0].id, "fake-1")}


async def test_stream_without_usage_ends_with_done(running: Running) -> None:
    """[DONE] follows the reason of the end, and no chunk speaks of usage."""
    status, events = await stream(running)
    assert (status, events[-1]) == (200, "data: [DONE]")
    assert json.loads(events[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in each for each in events)


@pytest.mark.parametrize("model", ["nexus/tlak", "talk", "gpt-4o", "nexus/talk/nowhere", "nexus/"])
async def test_client_hears_of_an_unknown_model(client: openai.AsyncOpenAI, model: str) -> None:
    """As 404 in OpenAI's shape, for pipelines and contexts."""
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model=model, messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert "there is no model" in str(caught.value)


@pytest.mark.parametrize("streams", [False, True], ids=["json", "stream"])
async def test_client_hears_of_an_overlong_prompt(client: openai.AsyncOpenAI, streams: bool) -> None:
    """As 400 with the code that OpenAI has for it, before any stream begins."""
    message: Any = {"role": "user", "content": "leave and " * 10_000}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="nexus/talk", messages=[message], stream=streams)
    assert caught.value.code == "context_length_exceeded"


async def test_which_context_must_be_said_where_there_are_several(running: Running) -> None:
    """The error tells how."""
    await running.store.create("travel/rules")
    status, told = await ask(running)
    assert (status, "name one, as in 'nexus/talk/handbook'" in told["error"]["message"]) == (400, True)
    assert (await ask(running, model="nexus/talk/travel/rules"))[0] == 200


async def test_no_context_is_an_error_that_says_so(start: Any) -> None:
    """And a pipeline with sources of its own needs none."""
    running = await start()
    status, told = await ask(running)
    assert (status, "there is none yet" in told["error"]["message"]) == (400, True)
    assert (await ask(running, model="nexus/own"))[0] == 200


async def test_messages_become_query_history_and_system_prompt(running: Running, fakes: Fakes) -> None:
    """The last message is the query; texts in parts are read; what the system says goes to the pipeline's input."""
    parts = [{"type": "text", "text": "How many days"}, {"type": "text", "text": "of leave?"}]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello", "name": "x"},
        {"role": "assistant", "content": "Hi.", "tool_calls": None, "refusal": None},
        {"role": "developer", "content": "Rhyme."},
        {"role": "user", "content": parts},
    ]
    assert (await ask(running, messages=messages))[0] == 200
    prompt = fakes.connectors["main"].prompts[0]
    assert prompt.query == "How many days\nof leave?"
    assert [(each.role, each.content) for each in prompt.messages[:3]] == [
        ("system", "Answer. Be brief.\n\nRhyme."), ("user", "Hello"), ("assistant", "Hi.")
    ]  # fmt: skip


async def test_options_reach_the_model(running: Running, fakes: Fakes) -> None:
    """Under the names of the core; what is null or changes nothing is left out."""
    asked = {"temperature": 0.5, "max_completion_tokens": 9, "max_tokens": 7, "stop": "END", "seed": 3, "top_p": None}
    status, _ = await ask(running, **asked, user="me", tools=[], logit_bias=None, n=1)
    options = fakes.connectors["main"].options[0]
    assert (status, options.temperature, options.max_tokens, options.stop) == (200, 0.5, 9, ("END",))
    assert (dict(options.extra), options.top_p) == ({"seed": 3}, None)


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"n": True},
        {"tools": [{"type": "function"}]},
        {"logprobs": True},
        {"top_logprobs": False},
        {"prompt_logprobs": -1},
        {"max_tokens": 0},
        {"max_tokens": 10**9},
        {"temperature": 3},
        {"stop": ["x"] * 9},
        {"messages": []},
        {"messages": [*QUESTION] * 1001},
        {"messages": [{"role": "assistant", "content": "Hi."}]},
        {"messages": [*QUESTION, {"role": "assistant", "content": "It is"}]},
        {"messages": [{"role": "tool", "content": "5"}]},
        {"messages": [{"role": "user", "content": " "}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{}], "content": None}, *QUESTION]},
        {"model": None},
        {"stream_options": {"other": 1}},
    ],
    ids=lambda more: json.dumps(more)[:40],
)
async def test_what_is_not_served_is_refused(running: Running, more: dict[str, Any]) -> None:
    """With 400 in OpenAI's shape, and no request goes out (faults 105 and 206)."""
    status, told = await ask(running, **more)
    assert (status, told["error"]["type"]) == (400, "invalid_request_error")
    assert told["error"]["message"]


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        pytest.param({"temperature": 3}, "temperature", "invalid_request", id="range"),
        pytest.param({"max_tokens": "9"}, "max_tokens", "invalid_request", id="type"),
        pytest.param({"stop": ["x"] * 9}, "stop", "invalid_request", id="length"),
        pytest.param({"stop": ["x", "x" * 201]}, "stop[1]", "invalid_request", id="within-a-list"),
        pytest.param({"stream_options": {"x": 1}}, "stream_options.x", "invalid_request", id="within-an-object"),
        pytest.param({"temprature": 1}, "temprature", "invalid_request", id="unknown"),
        pytest.param({"tools": [{}]}, "tools", "unsupported_parameter", id="unsupported"),
        pytest.param({"messages": []}, "messages", "invalid_request", id="empty"),
        pytest.param({"messages": None}, "messages", "invalid_request", id="missing"),
        pytest.param({"messages": [*QUESTION, {"role": "user", "content": 5}]}, "messages[1].content",
                     "invalid_request", id="content"),
        pytest.param({"messages": [*QUESTION, {"content": "x"}]}, "messages[1].role", "invalid_request", id="no-role"),
        pytest.param({"messages": [{"role": "tool", "content": "5"}, *QUESTION]}, "messages[0].role",
                     "unsupported_parameter", id="role"),
        pytest.param({"messages": [{"role": "user", "content": [TEXT, {"type": "image_url"}]}]},
                     "messages[0].content[1]", "unsupported_parameter", id="part"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
                     "messages[0].content[0].text", "invalid_request", id="text-of-a-part"),
        pytest.param({"messages": [{"role": "user", "content": "x" * (512 * 1024 + 1)}]}, "messages[0].content",
                     "invalid_request", id="long"),
        pytest.param({"messages": [{"role": "assistant", "content": "Hi."}]}, "messages", "invalid_request", id="last"),
        pytest.param({"messages": [{"role": "user", "content": "leave and " * 10_000}]}, "messages",
                     "context_length_exceeded", id="window"),
        pytest.param({"model": "nexus/none"}, "model", "model_not_found", id="model"),
        pytest.param({"model": 5}, "model", "invalid_request", id="no-model"),
    ],
)  # fmt: skip
async def test_client_hears_which_parameter_is_wrong(
    client: openai.AsyncOpenAI, more: dict[str, Any], param: str, code: str
) -> None:
    """Of what is missing, unknown, of another type or too large; within lists and objects too (faults 105, 206)."""
    asked = {"model": "nexus/talk", "messages": QUESTION, **more}
    with pytest.raises(openai.APIStatusError) as caught:
        await client.post("/chat/completions", body=asked, cast_to=object)
    assert (caught.value.param, caught.value.code) == (param, code)


async def test_which_context_is_meant_is_a_question_of_the_model(client: openai.AsyncOpenAI, running: Running) -> None:
    """Where there are several."""
    await running.store.create("travel")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="nexus/talk", messages=QUESTION)
    assert caught.value.param == "model"


async def test_other_failures_name_no_parameter(client: openai.AsyncOpenAI, fakes: Fakes) -> None:
    """It is null, as OpenAI has it."""
    fakes.connectors["main"].replies = [TruncatedError("the answer ended early", provider="fake", model="fake-1")]
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="nexus/talk", messages=QUESTION)
    assert caught.value.param is None
    assert isinstance(caught.value.body, dict)
    assert "param" in caught.value.body


async def test_failure_before_the_first_text_has_a_status(running: Running, fakes: Fakes) -> None:
    """A stream that has not begun is no stream."""
    fakes.connectors["main"].replies = [TruncatedError("the answer ended early", provider="fake", model="fake-1")]
    body = {"model": "nexus/talk", "messages": QUESTION, "stream": True}
    status, told = await running.call("POST", "/v1/chat/completions", json=body)
    assert (status, told["error"]["type"]) == (502, "server_error")


async def test_failure_after_some_text_ends_the_stream_with_an_error(running: Running, fakes: Fakes) -> None:
    """And without [DONE]; OpenAI's client raises it."""
    fakes.connectors["main"].replies = [("Half an", TruncatedError("the answer broke off", provider="f", model="f"))]
    status, events = await stream(running)
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert (status, error["type"], error["code"]) == (200, "server_error", "upstream_truncated")
    assert "data: [DONE]" not in events
    async with openai.AsyncOpenAI(base_url=f"{running.origin}/v1", api_key="none", max_retries=0) as client:
        found = await client.chat.completions.create(model="nexus/talk", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            [each async for each in found]


async def test_wrong_key_is_an_authentication_error(start: Any) -> None:
    """In OpenAI's shape, for its client."""

    async def nobody(key: str) -> None:
        return None

    running = await start(verify=nobody)
    async with openai.AsyncOpenAI(base_url=f"{running.origin}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


@pytest.mark.parametrize("text", ["a\r\n\ndata: x", "\u2028\x85", "ü😀", '"\\', "\ud83d"], ids=ascii)
def test_chunk_is_one_event_of_one_line(text: str) -> None:
    """Whatever a model writes (faults 89 and 90)."""
    chunks = ChatChunks(with_usage=True, with_reasoning=False)
    assert chunks.begin("r", "m").startswith(b'data: {"id": "chatcmpl-r"')
    data = chunks.text(text)
    assert (data.count(b"\n"), data.isascii(), len(data.decode().splitlines())) == (2, True, 2)
    assert json.loads(data.removeprefix(b"data: "))["choices"][0]["delta"] == {"content": text}


async def test_counts_that_are_unknown_are_null(running: Running, fakes: Fakes) -> None:
    """Never 0."""
    fakes.connectors["main"].replies = [Completion(text="Yes.", finish_reason="length")]
    _, told = await ask(running)
    assert told["choices"][0]["finish_reason"] == "length"
    assert told["usage"] is None or told["usage"]["total_tokens"] > 0


async def test_answer_that_is_cut_before_any_text_is_told_as_such(running: Running, fakes: Fakes) -> None:
    """Role, end and [DONE] come all the same, with the reason."""
    fakes.connectors["main"].replies = [[Chunk(finish_reason="length")]]
    status, events = await stream(running)
    assert (status, len(events), events[-1]) == (200, 3, "data: [DONE]")
