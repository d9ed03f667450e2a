"""Definitions of tools: their names, how many there are, and what their schemas say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from jsonschema import Draft202012Validator

from nexus_core import Pipeline
from nexus_core.contract.run_context import PipelineInput
from nexus_core.server.errors import Failure
from nexus_core.server.mcp.protocol_server import _tool
from nexus_core.server.mcp.resources import _Place
from nexus_core.server.mcp.tool_definitions import MOST_CONTEXTS, define_tools, input_types, tool_names
from nexus_core.server.mcp.uris import ResourceAddress, parse_uri

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
"""As pipelines are named."""
PIPELINE = """name: {name}
{inputs}
models: {{main: {{use: extractive}}}}
steps:
  - gather: {{use: {source}}}
  - prompt: chat
  - generate: main
"""
INPUTS = """inputs:
  tone: {required: true, description: How it sounds.}
  words: {default: 100}
  strict: {default: false}
  title: {default: ""}
"""
INLINE = "inline, items: [{id: leave, text: Everybody has 28 days of leave.}]"


@given(st.lists(NAMES, unique=True, max_size=40))
def test_names_of_tools_are_different_and_ones_that_all_clients_take(names: list[str]) -> None:
    """Of letters, digits and `_`, at most 64; the same name stays the same when another pipeline comes after it."""
    found = tool_names(names)
    assert [*found] == names
    assert len({*found.values()}) == len(names)
    assert all(re.fullmatch("ask_[a-z0-9_]{1,60}", name) for name in found.values())
    assert tool_names(names[:-1]) == {name: found[name] for name in names[:-1]}


CHANGING = """name: booking
plugins: [./own.py]
models: {main: {use: openai, model: gpt-4o-mini, api_key: sk-test}}
steps:
  - generate: {model: main, tools: [own.book]%s}
"""
BOOK = """from nexus_core import hookimpl, tool

@tool(changes=True)
def book(day: int) -> str:
    \"\"\"Book a table.\"\"\"
    return "booked"

@hookimpl
def nexus_tools():
    return [book]
"""
CALLING = """name: calling
models: {main: {use: extractive}}
steps:
  - call: {pipeline: ./booking.yaml}
    as: found
  - prompt: {template: {text: "{{ vars.found }}"}}
  - generate: main
"""


@pytest.mark.parametrize("allow", ["", ", allow: [book]"], ids=["not-allowed", "allowed"])
def test_what_may_change_something_is_not_called_read_only(tmp_path: Path, allow: str) -> None:
    """By itself, by a pipeline that it calls, or by one that `ask` takes: clients ask nobody before reading."""
    (tmp_path / "own.py").write_text(BOOK)
    (tmp_path / "booking.yaml").write_text(CHANGING % allow)
    (tmp_path / "calling.yaml").write_text(CALLING)
    (tmp_path / "reads.yaml").write_text(PIPELINE.format(name="reads", inputs="", source=INLINE))
    pipelines = {name: Pipeline.load(tmp_path / f"{name}.yaml") for name in ("reads", "booking", "calling")}
    told = define_tools(pipelines, tool_names(pipelines), "reads", ["staff"])
    changing = {tool.name for tool in map(_tool, told) if tool.annotations and not tool.annotations.read_only_hint}
    assert changing == ({"ask", "ask_booking", "ask_calling"} if allow else set())


def test_names_that_clash_are_numbered() -> None:
    """Also where they are cut."""
    long = "x" * 64
    assert tool_names(["a.b", "a-b", "A_B", "a_b_2"]) == {
        "a.b": "ask_a_b", "a-b": "ask_a_b_2", "A_B": "ask_a_b_3", "a_b_2": "ask_a_b_2_2",
    }  # fmt: skip
    assert tool_names([long, long + "y"]) == {long: "ask_" + "x" * 60, long + "y": "ask_" + "x" * 58 + "_2"}


def pipelines(folder: Path, count: int, inputs: str = "", source: str = "store") -> Mapping[str, Pipeline]:
    """Return so many pipelines."""
    found = {}
    for number in range(count):
        file = folder / f"p{number}.yaml"
        file.write_text(PIPELINE.format(name=f"p{number}", inputs=inputs, source=source))
        found[f"p{number}"] = Pipeline.load(file)
    return found


def tools_of(served: Mapping[str, Pipeline], contexts: list[str] | None) -> dict[str, dict[str, Any]]:
    """Return the schemas of the arguments of all tools, each a valid schema, by name."""
    found = {}
    for tool in define_tools(served, tool_names(served), "p0", contexts):
        for schema in (tool.arguments, tool.answer):
            Draft202012Validator.check_schema(json.loads(json.dumps(schema)))
        found[tool.name] = dict(tool.arguments)
    return found


def test_thirty_pipelines_have_a_tool_and_others_are_named(tmp_path: Path) -> None:
    """In the order in which they are served; `ask` takes the names of all."""
    tools = tools_of(pipelines(tmp_path, 32), ["staff"])
    assert [*tools] == ["search", "read", "ask", *(f"ask_p{number}" for number in range(30))]
    assert tools["ask"]["properties"]["pipeline"]["enum"] == [f"p{number}" for number in range(32)]
    assert [*tools_of({}, ["staff"])] == ["search", "read"]


def test_a_hundred_contexts_are_listed_and_more_are_not(tmp_path: Path) -> None:
    """Nor is any to whom contexts are not told, or where there are none yet: an empty enum would take no name."""
    served = pipelines(tmp_path, 1)
    for count in (1, MOST_CONTEXTS, MOST_CONTEXTS + 1, 0, None):
        names = None if count is None else [f"c{number}" for number in range(count)]
        tools = tools_of(served, names)
        for tool in ("search", "ask", "ask_p0"):
            context = tools[tool]["properties"]["context"]
            listed = bool(names) and len(names or ()) <= MOST_CONTEXTS
            assert (context["type"], context.get("enum")) == ("string", names if listed else None)
            assert "context" in tools[tool]["required"]
    assert (
        "more than 100" in tools_of(served, [str(n) for n in range(101)])["ask"]["properties"]["context"]["description"]
    )


def test_inputs_have_the_types_of_their_defaults(tmp_path: Path) -> None:
    """And those without one take any scalar; what must be given is required."""
    tools = tools_of(pipelines(tmp_path, 1, INPUTS), None)
    inputs = tools["ask_p0"]["properties"]["inputs"]
    assert {name: each.get("type") for name, each in inputs["properties"].items()} == {
        "tone": None, "words": "number", "strict": "boolean", "title": "string",
    }  # fmt: skip
    assert [each["type"] for each in inputs["properties"]["tone"]["anyOf"]] == ["string", "number", "boolean", "null"]
    assert (inputs["required"], inputs["additionalProperties"]) == (["tone"], False)
    assert tools["ask_p0"]["required"] == ["question", "context", "inputs"]
    assert tools["ask"]["required"] == ["question", "context"]


def test_a_pipeline_of_its_own_sources_takes_no_context(tmp_path: Path) -> None:
    """Nor does `ask` where there is no other; beside one that does it is not required."""
    (tmp_path / "other").mkdir()
    own = pipelines(tmp_path, 1, source=INLINE)
    assert "context" not in tools_of(own, ["staff"])["ask"]["properties"]
    mixed = {**own, "other": pipelines(tmp_path / "other", 1)["p0"]}
    assert tools_of(mixed, ["staff"])["ask"]["required"] == ["question"]


@pytest.mark.parametrize(
    ("default", "types"), [(True, ["boolean"]), (1, ["number"]), (0.5, ["number"]), ("", ["string"])]
)
def test_the_type_of_an_input_is_that_of_its_default(default: Any, types: list[str]) -> None:
    """A truth value is no number, though Python takes it for one."""
    assert input_types(PipelineInput(name="x", default=default)) == types


@given(st.text(min_size=1, max_size=50), st.text(min_size=1, max_size=50), st.sampled_from(["items", "documents"]))
def test_an_address_is_read_as_it_was_written(context: str, name: str, kind: Any) -> None:
    """Whatever the names are."""
    try:
        address = ResourceAddress(context, kind, name)
        uri = address.uri
    except UnicodeEncodeError:  # half a character, which no store takes
        return
    assert re.fullmatch(r"nexus://[A-Za-z0-9%._~-]+/(items|documents)/[A-Za-z0-9%._~-]+", uri)
    assert parse_uri(uri) == address


@pytest.mark.parametrize(
    "uri",
    ["", "nexus:", "nexus://", "nexus://a", "nexus://a/items", "nexus://a/items/", "nexus:///items/a",
     "nexus://a/things/b", "http://a/items/b", "nexus://a/items/%ff", "NEXUS://a/items/b"],
)  # fmt: skip
def test_other_addresses_are_refused(uri: str) -> None:
    """With the shapes that there are."""
    with pytest.raises(Failure, match=r"nexus://\{context\}/items/\{id\}"):
        parse_uri(uri)


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda data: data.hex()))
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    """Whatever it holds; one that was told is read again."""
    try:
        place = _Place.parse(cursor)
    except Failure as failure:
        assert failure.code == "invalid_request"
    else:
        assert _Place.parse(place.cursor) == place


@given(st.text(max_size=20), st.integers(0, 2**62 - 1))
def test_a_cursor_is_read_as_it_was_told(name: str, after: int) -> None:
    """For items by their place, for documents by their name."""
    for place in (_Place(name, "items", after), _Place(name, "documents", name)):
        try:
            cursor = place.cursor
        except TypeError:  # half a character, which no store takes
            continue
        assert _Place.parse(cursor) == place
