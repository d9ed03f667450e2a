"""What a pipeline says of a model: what it refuses, what it is like, which endpoint it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nexus_openai.connector import OpenAI

from nexus_core import CallOptions, ConfigError, ConnectorError, ImageTokens, Message, Pipeline, Prompt, ToolDefinition
from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer
from nexus_core.toolkit import ERRORS_BY_KIND

YES = json_answer(completion("Yes."))
PROMPT = Prompt(messages=(Message("user", "?"),))
TOOLS = (ToolDefinition(name="now"),)


def pipeline(folder: Path, options: str, url: str = "https://llm.example.com/v1") -> Path:
    """Return a pipeline whose model has these options."""
    file = folder / "pipeline.yaml"
    file.write_text(
        f"name: p\nmodels:\n  main: {{use: openai, base_url: '{url}', options: {{temperature: 0.5, max_tokens: 7}},"
        f" {options}}}\nsteps:\n  - generate: main\n"
    )
    return file


async def body(folder: Path, options: str) -> Any:
    """Return what a run sends for a model of these options."""
    async with ScriptedUpstream(YES) as upstream:
        async with Pipeline.load(pipeline(folder, options, upstream.url)) as loaded:
            await loaded.run("?")
        return upstream.requests[0].json()


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ("model: ours", {"temperature": 0.5, "max_tokens": 7}),
        ("model: ours, unsupported: [temperature]", {"max_tokens": 7}),
        (
            "model: ours, max_tokens_parameter: max_completion_tokens",
            {"temperature": 0.5, "max_completion_tokens": 7},
        ),
        ("model: ours, like: gpt-5-mini", {"max_completion_tokens": 7}),
        ("model: ours, like: gpt-5-mini, max_tokens_parameter: max_tokens", {"max_tokens": 7}),
        ("model: gpt-4.1, unsupported: [max_tokens]", {"temperature": 0.5}),
    ],
    ids=["plain", "unsupported", "parameter", "like", "over-like", "over-table"],
)
async def test_request_is_as_the_pipeline_says(tmp_path: Path, options: str, sent: dict[str, Any]) -> None:
    """What the model refuses is left out, and the limit has its name."""
    found = await body(tmp_path, options)
    del found["model"], found["messages"]
    assert found == sent


async def test_refused_option_is_an_error_where_it_shall_be(tmp_path: Path) -> None:
    """Before anything is sent, with the option's name and what to do."""
    options = "model: ours, unsupported: [temperature, top_p], unsupported_options: error"
    async with ScriptedUpstream(YES) as upstream:
        async with Pipeline.load(pipeline(tmp_path, options, upstream.url)) as loaded:
            with pytest.raises(ConnectorError, match="does not take temperature: leave") as caught:
                await loaded.run("?")
        assert (upstream.requests, caught.value.request_sent) == ([], False)


async def test_fallback_answers_where_an_option_is_refused(tmp_path: Path) -> None:
    """The error is about the model, not about the request."""
    async with ScriptedUpstream(YES) as upstream:
        file = tmp_path / "pipeline.yaml"
        file.write_text(
            "name: p\nmodels:\n"
            f"  main: {{use: openai, model: o3, base_url: '{upstream.url}', unsupported_options: error,"
            " fallback: spare, options: {temperature: 0}}\n"
            f"  spare: {{use: openai, model: ours, base_url: '{upstream.url}'}}\nsteps:\n  - generate: main\n"
        )
        async with Pipeline.load(file) as loaded:
            assert (await loaded.run("?")).text == "Yes."
        assert [request.json()["model"] for request in upstream.requests] == ["ours"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("like: gpt-5-mimi", "did you mean 'gpt-5-mini'"),
        ("unsupported: [temprature]", "temperature"),
        ("unsupported_options: ignore", "drop"),
        ("max_tokens_parameter: tokens", "max_completion_tokens"),
        ("api_key: k, api_key_command: print-key", "give one of"),
        ('api_key_command: "print \'key"', "cannot be taken apart"),
        ("api_key_command: []", "empty"),
    ],
    ids=["like", "unsupported", "unsupported-options", "parameter", "two-keys", "quote", "no-command"],
)
def test_wrong_option_is_told_at_load(tmp_path: Path, options: str, match: str) -> None:
    """With its place in the file, and what is possible."""
    with pytest.raises(ConfigError, match=match) as caught:
        Pipeline.load(pipeline(tmp_path, f"model: ours, {options}"))
    assert caught.value.problems[0].line == 3


def test_like_gives_figures_and_behaviour() -> None:
    """All but the model's name."""
    given, model = OpenAI(model="ours", like="gpt-5-mini").model_info, OpenAI(model="gpt-5-mini").model_info
    assert (given.id, given.window, given.max_input, given.encoding) == ("ours", 400_000, 272_000, "o200k_base")
    assert (given.unsupported, given.image_tokens) == (model.unsupported, model.image_tokens)
    assert {"vision", "schema", "reasoning"} <= given.capabilities


def test_files_need_a_bound() -> None:
    """Nobody publishes how they are counted."""
    assert "files" not in OpenAI(model="gpt-4.1").model_info.capabilities
    info = OpenAI(model="gpt-4.1", file_tokens=9000).model_info
    assert ("files" in info.capabilities, info.file_tokens_at_most) == (True, 9000)


def test_capabilities_of_other_models_are_said() -> None:
    """What a server's model can do, and what an image takes at most."""
    info = OpenAI(model="ours", capabilities=("schema", "vision"), image_tokens=1500).model_info
    assert {"schema", "vision", "tools", "generate"} <= info.capabilities
    assert info.image_tokens == ImageTokens(formula="fixed", base=1500, at_most=1500)


@pytest.mark.parametrize(
    ("base_url", "window"),
    [("http://localhost:11434/v1", 8192), ("https://llm.example.com/v1", 131_072)],
    ids=["own-server", "service"],
)
def test_window_of_open_weights_is_what_a_server_has_loaded(base_url: str, window: int) -> None:
    """In a private network nobody knows it; `like` says it."""
    assert OpenAI(model="gpt-oss:20b", base_url=base_url).model_info.window == window
    assert OpenAI(model="gpt-oss:20b", base_url=base_url, like="gpt-oss").model_info.window == 131_072


async def test_model_that_makes_vectors_is_named() -> None:
    """At OpenAI, whole or streamed, before anything is sent."""
    model, match = "text-embedding-3-small", "makes vectors"
    async with OpenAI(model=model, api_key="k") as openai:  # type: ignore[arg-type]
        with pytest.raises(ConnectorError, match=match) as caught:
            await openai.send_prompt(PROMPT, CallOptions())
        assert (caught.value.kind, caught.value.model) == ("not_configured", model)
        with pytest.raises(ConnectorError, match=match):
            await anext(openai.stream_response(PROMPT, CallOptions()))


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [("o3-pro", "responses"), ("gpt-6.2-sol", "responses"), ("gpt-5.4", "responses"), ("gpt-4.1", "chat")],
)
def test_endpoint_is_what_the_model_needs(model: str, endpoint: str) -> None:
    """At OpenAI: those that know the Responses API alone, or take tools by it alone; elsewhere chat completions."""
    assert OpenAI(model=model).model_info.endpoint == endpoint
    assert OpenAI(model=model, base_url="https://router.example/v1").model_info.endpoint == "chat"
    assert OpenAI(model=model, endpoint="chat").model_info.endpoint == "chat"


async def test_other_services_serve_all_models_by_chat() -> None:
    """A router takes the requests that OpenAI refuses."""
    async with ScriptedUpstream(YES) as upstream, OpenAI(model="openai/o3-pro", base_url=upstream.url) as openai:
        assert (await openai.send_prompt(PROMPT, CallOptions(tools=TOOLS))).text == "Yes."
    assert upstream.requests[0].target == "/v1/chat/completions"


async def test_code_of_a_service_may_mean_any_kind(tmp_path: Path) -> None:
    """Of those that the page of the connector lists, from YAML."""
    answer = json_answer({"error": {"message": "?", "code": "odd"}}, status=418)
    for kind in ERRORS_BY_KIND:
        options = f"model: ours, error_classes: {{odd: {kind}}}, retry: false"
        async with ScriptedUpstream(answer) as upstream, Pipeline.load(pipeline(tmp_path, options, upstream.url)) as p:
            with pytest.raises(ConnectorError) as raised:
                await p.run("?")
        assert raised.value.kind == kind
