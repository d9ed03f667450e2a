"""Tools of clients, for a pipeline that lets them by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from attrs import evolve

from nexus_core import Chunk, Completion, Message, ToolCall, ToolCallDelta, ToolDefinition, Usage
from nexus_core.store.access.api_keys import ApiKeys

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running, Start

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
PIPELINE = """name: NAME
models: {main: {use: fake, to: own}}
steps:
  - gather: {use: inline, items: [{id: leave, title: Leave, text: Everybody has 28 days of leave.}]}
  - prompt: chat
  - generate: GENERATE
"""
OPEN = PIPELINE.replace("NAME", "open").replace("GENERATE", "{client_tools: true}")
SHUT = PIPELINE.replace("NAME", "shut").replace("GENERATE", "main")
PARAMETERS: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION: Any = {"name": "weather", "description": "Tells the weather.", "parameters": PARAMETERS}
TOOL: Any = {"type": "function", "function": FUNCTION}
CALL = ToolCall(id="c1", name="weather", arguments='{"city": "Rome"}')
CALLED: Any = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
QUESTION: Any = {"role": "user", "content": "Is it warm in Rome?"}
SAID: Any = [
    QUESTION,
    {"role": "assistant", "content": None, "tool_calls": [CALLED]},
    {"role": "tool", "tool_call_id": "c1", "content": "28 degrees"},
]


@pytest.fixture
async def serving(start: Start, fakes: Fakes) -> Running:
    """A server with a pipeline that lets tools by, and one that does not."""
    own = fakes.connectors["own"]
    own.model_info = evolve(own.model_info, capabilities=frozenset({"streaming", "tools"}))
    return await start(pipelines={"open": OPEN, "shut": SHUT})


async def test_client_calls_a_tool_and_sends_its_result(serving: Running, fakes: Fakes) -> None:
    """The model is offered it, asks for it, and answers from its result, which follows the question."""
    fakes.connectors["own"].replies = [
        Completion(text="", finish_reason="tool_calls", tool_calls=(CALL,)), "It is warm."
    ]  # fmt: skip
    async with openai.AsyncOpenAI(base_url=f"{serving.origin}/v1", api_key="none", max_retries=0) as client:
        asked: Any = {"model": "nexus/open", "tools": [TOOL]}
        first = await client.chat.completions.create(**asked, messages=[QUESTION], tool_choice="required")
        said: Any = first.choices[0].message.to_dict()
        messages = [QUESTION, said, SAID[2]]
        second = await client.chat.completions.create(**asked, messages=messages)
    assert (first.choices[0].finish_reason, second.choices[0].message.content) == ("tool_calls", "It is warm.")
    options, prompts = fakes.connectors["own"].options, fakes.connectors["own"].prompts
    assert options[0].tools == (
        ToolDefinition(name="weather", description="Tells the weather.", parameters=PARAMETERS),
    )
    assert [each.tool_choice for each in options] == ["required", "auto"]
    assert prompts[1].query == QUESTION["content"]
    assert list(prompts[1].messages[-2:]) == [
        Message("assistant", "", (CALL,)), Message("tool", "28 degrees", tool_call_id="c1")
    ]  # fmt: skip


async def test_responses_take_calls_and_results_as_items(serving: Running, fakes: Fakes) -> None:
    """In their own form; the choice of one function is its name."""
    given = [
        {"role": "user", "content": "Is it warm in Rome?"},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": '{"city": "Rome"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "28 degrees"},
    ]
    tools = {"tools": [{"type": "function", **FUNCTION}], "tool_choice": {"type": "function", "name": "weather"}}
    status, told = await serving.call("POST", RESPONSES, json={"model": "nexus/open", "input": given, **tools})
    assert (status, told["tools"]) == (200, tools["tools"])
    connector = fakes.connectors["own"]
    assert connector.options[0].tool_choice == "weather"
    assert [each.role for each in connector.prompts[0].messages[-3:]] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("output", [5, {"a": 1}, [5], [None], [{"type": ["input_text"]}], [{"type": "input_image"}]])
async def test_results_that_are_no_text_are_refused(serving: Running, fakes: Fakes, output: Any) -> None:
    """Nor does the model read them as empty."""
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    given = [QUESTION, call, {"type": "function_call_output", "call_id": "c1", "output": output}]
    status, told = await serving.call("POST", RESPONSES, json={"model": "nexus/open", "input": given})
    assert (status, told["error"]["param"][:8]) == (400, "input[2]")
    assert fakes.connectors["own"].prompts == []


@pytest.mark.parametrize(
    ("more", "param"),
    [
        pytest.param({"tools": [TOOL]}, "tools", id="tools"),
        pytest.param({"messages": SAID}, "messages[1].tool_calls", id="calls"),
        pytest.param({"messages": [SAID[2], QUESTION]}, "messages[0].role", id="results"),
    ],
)
async def test_pipeline_takes_no_tools_unless_it_says_so(serving: Running, more: dict[str, Any], param: str) -> None:
    """And the error says how it would."""
    body = {"model": "nexus/shut", "messages": [QUESTION], **more}
    status, told = await serving.call("POST", CHAT, json=body)
    assert (status, told["error"]["param"], told["error"]["code"]) == (400, param, "unsupported_parameter")
    assert "`generate: {client_tools: true}`" in told["error"]["message"]


async def test_model_must_be_able_to_call_tools(start: Start) -> None:
    """Else the client is told, and no request goes out."""
    running = await start(pipelines={"open": OPEN})
    body = {"model": "nexus/open", "messages": [QUESTION], "tools": [TOOL]}
    status, told = await running.call("POST", CHAT, json=body)
    assert (status, "the capability `tools`" in told["error"]["message"]) == (400, True)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        pytest.param({"tools": [{"type": "web_search"}]}, "tools[0]", id="of-the-service"),
        pytest.param({"tools": [{"type": "function"}]}, "tools[0]", id="no-name"),
        pytest.param({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0]", id="name"),
        pytest.param({"tools": [TOOL, TOOL]}, "tools", id="twice"),
        pytest.param({"tools": [TOOL] * 129}, "tools", id="many"),
        pytest.param({"tools": [TOOL], "tool_choice": "other"}, "tool_choice", id="choice"),
        pytest.param({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice",
                     id="unknown-choice"),
        pytest.param({"tool_choice": "required"}, "tool_choice", id="choice-of-none"),
        pytest.param({"functions": [FUNCTION]}, "functions", id="functions"),
        pytest.param({"messages": [QUESTION, {"role": "tool"}]}, "messages[1].tool_call_id", id="no-id"),
        pytest.param({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}, QUESTION]},
                     "messages[0].tool_calls[0]", id="no-function"),
        pytest.param({"messages": [QUESTION, {"role": "assistant", "tool_calls": {"id": "c1"}}, QUESTION]},
                     "messages[1].tool_calls", id="no-list"),
        pytest.param({"messages": [QUESTION, SAID[2]]}, "messages", id="result-of-no-call"),
        pytest.param({"messages": [*SAID[:2], {**SAID[2], "tool_call_id": "c2"}]}, "messages", id="another-call"),
        pytest.param({"messages": [*SAID[:2], QUESTION, SAID[2]]}, "messages", id="question-between"),
        pytest.param({"tools": [{"type": "function", "function": {"name": "none"}}],
                      "tool_choice": {"type": "function", "function": {"name": "none"}}}, "tool_choice", id="none"),
    ],
)  # fmt: skip
async def test_tools_that_are_none_are_refused(serving: Running, more: dict[str, Any], param: str) -> None:
    """With the place of what is wrong."""
    body = {"model": "nexus/open", "messages": [QUESTION], **more}
    status, told = await serving.call("POST", CHAT, json=body)
    assert (status, told["error"]["param"]) == (400, param)


async def test_tools_that_ask_for_nothing_are_none(serving: Running, fakes: Fakes) -> None:
    """As many clients send them."""
    body = {"model": "nexus/shut", "messages": [QUESTION], "tools": [], "tool_choice": "auto"}
    assert (await serving.call("POST", CHAT, json=body))[0] == 200
    assert fakes.connectors["own"].options[0].tools is None


async def test_calls_and_results_stay_in_the_history(serving: Running, fakes: Fakes) -> None:
    """In a conversation that goes on after them."""
    more = [*SAID, {"role": "assistant", "content": "28 degrees."}, {"role": "user", "content": "And in Oslo?"}]
    body = {"model": "nexus/open", "messages": more, "tools": [TOOL]}
    assert (await serving.call("POST", CHAT, json=body))[0] == 200
    messages = fakes.connectors["own"].prompts[0].messages
    assert [each.role for each in messages] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert (messages[2].tool_calls, messages[3].tool_call_id) == ((CALL,), "c1")


BOTH = """name: both
models: {main: {use: fake, to: own}}
steps:
  - gather: {use: inline, items: [{id: leave, title: Leave, text: Everybody has 28 days of leave.}]}
  - rank: bm25
  - prompt: chat
  - generate: {client_tools: true, tools: [search]}
"""
SEARCH = ToolCall(id="s1", name="search", arguments='{"query": "days of leave"}')


def played(*calls: ToolCall, text: str = "") -> list[Chunk]:
    """Return a reply with calls, as a stream and as a whole answer have it."""
    deltas = [
        ToolCallDelta(index=place, id=call.id, name=call.name, arguments=call.arguments)
        for place, call in enumerate(calls)
    ]
    return [
        Chunk(text, tool_calls=tuple(deltas)),
        Chunk(finish_reason="tool_calls", usage=Usage(prompt_tokens=7, completion_tokens=3)),
    ]


@pytest.fixture
async def both(start: Start, fakes: Fakes) -> Running:
    """A server with a pipeline that has a tool of its own and lets those of clients by."""
    own = fakes.connectors["own"]
    own.model_info = evolve(own.model_info, capabilities=frozenset({"streaming", "tools"}))
    return await start(pipelines={"both": BOTH})


def whole(*calls: ToolCall) -> Completion:
    usage = Usage(prompt_tokens=7, completion_tokens=3)
    return Completion(text="", finish_reason="tool_calls", tool_calls=calls, usage=usage)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_tools_of_the_pipeline_run_here_and_those_of_the_client_are_returned(
    both: Running, fakes: Fakes, stream: bool
) -> None:
    """A round of the pipeline's own is not shown; of one with both, the client is given its own calls alone."""
    rounds: list[Any] = [(SEARCH,), (SEARCH, CALL)]
    fakes.connectors["own"].replies = [played(*calls) if stream else whole(*calls) for calls in rounds]
    asked: Any = {"model": "nexus/both", "tools": [TOOL], "messages": [QUESTION]}
    async with openai.AsyncOpenAI(base_url=f"{both.origin}/v1", api_key="none", max_retries=0) as client:
        if stream:
            async with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
                told = await events.get_final_completion()
        else:
            told = await client.chat.completions.create(**asked)
    found: Any = told
    calls = found.choices[0].message.tool_calls
    assert [(call.function.name, call.function.arguments) for call in calls] == [("weather", CALL.arguments)]
    assert found.choices[0].finish_reason == "tool_calls"
    options: Any = fakes.connectors["own"].options
    assert [[tool.name for tool in each.tools] for each in options] == [["search", "weather"]] * 2
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (14, 6)


@pytest.mark.parametrize(("path", "more"), [(CHAT, {"messages": [QUESTION]}), (RESPONSES, {"input": "Warm?"})])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_tool_of_a_client_with_the_name_of_one_of_the_pipeline_is_refused(
    both: Running, fakes: Fakes, path: str, more: dict[str, Any], stream: bool
) -> None:
    """Nobody could tell whose call it was."""
    function = {"name": "search", "parameters": PARAMETERS}
    tool = {"type": "function", "function": function} if path == CHAT else {"type": "function", **function}
    body = {"model": "nexus/both", "tools": [tool], "stream": stream, **more}
    status, told = await both.call("POST", path, json=body)
    assert status == 400
    assert "search is a tool of the pipeline, too" in told["error"]["message"]
    _, key = await ApiKeys(both.store).new("ann")  # who is no operator is told so, too
    both.server.keys._read_at = None  # type: ignore[union-attr]
    status, told = await both.call("POST", path, json=body, headers={"Authorization": f"Bearer {key}"})
    assert (status, told["error"]["code"]) == (400, "invalid_request")
    assert "a tool of the request has the name of a tool of the pipeline" in told["error"]["message"]
    assert fakes.connectors["own"].prompts == []
