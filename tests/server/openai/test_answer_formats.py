"""Formats of answers: the schema that a client asks for reaches the model, within bounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from attrs import evolve

from nexus_core import ConnectorError
from nexus_core.server.errors import Failure, failure_of
from nexus_core.server.openai.parameters import response_schema

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Start
    from tests.server.openai.conftest import RawClient

SCHEMA: Any = {"type": "object", "properties": {"open": {"type": "boolean"}}, "required": ["open"]}
QUESTION: Any = [{"role": "user", "content": "How many days of leave?"}]


class SchemaMismatch(ConnectorError):
    """An answer that does not match."""

    kind: ClassVar[str] = "schema_mismatch"


def in_chat(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "opening", "schema": schema, **more}}


@pytest.mark.parametrize(
    ("asked", "schema"),
    [
        pytest.param(in_chat(SCHEMA, strict=True), SCHEMA, id="chat"),
        pytest.param({"type": "json_schema", "name": "opening", "schema": SCHEMA}, SCHEMA, id="response"),
        pytest.param({"type": "json_object"}, {"type": "object"}, id="object"),
        pytest.param({"type": "text"}, None, id="text"),
    ],
)
def test_format_is_a_schema(asked: Any, schema: Any) -> None:
    """In both places where OpenAI's APIs have it."""
    assert response_schema(asked, "response_format") == schema


NESTED = {"type": "array", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        pytest.param({"$ref": "https://example.org/a.json"}, "`/[$]ref`: `[$]ref` leads to another", id="remote"),
        pytest.param({"properties": {"a": {"anyOf": [{"$ref": "other.json"}]}}}, "leads to another", id="other-file"),
        pytest.param({"properties": {"enum": {"$ref": "file:///etc/passwd"}}}, "leads to another", id="property-enum"),
        pytest.param({"description": "x" * 270_000}, "larger than 256 KiB", id="size"),
        pytest.param({"anyOf": [{}] * 11_000}, "more than 10,000 values", id="values"),
        pytest.param({"pattern": "a" * 1_001}, "1,000 characters", id="pattern"),
        pytest.param({"pattern": "("}, "no regular expression", id="no-pattern"),
        pytest.param(
            {"patternProperties": {f"^{number}$": {} for number in range(201)}}, "200 patterns", id="patterns"
        ),
        pytest.param({"type": "objekt"}, "at `/type`", id="invalid"),
        pytest.param(None, "must be a JSON Schema", id="missing"),
        pytest.param(True, "must be a JSON Schema", id="boolean"),
    ],
)
def test_schema_of_a_client_is_bounded(schema: Any, words: str) -> None:
    """Nothing is fetched, and nothing takes long; the error names the place."""
    with pytest.raises(Failure, match=words) as caught:
        response_schema(in_chat(schema), "response_format")
    assert (caught.value.status, caught.value.param) == (400, "response_format.json_schema.schema")


@pytest.mark.parametrize("schema", [NESTED, {"enum": [{"$ref": "https://example.org"}]}, {}], ids=str)
def test_schema_within_the_bounds_is_taken(schema: Any) -> None:
    """References within it, and data that only looks like a reference."""
    assert response_schema(in_chat(schema), "response_format") == schema


def test_answer_that_mismatches_is_a_failure_of_its_own() -> None:
    """By the kind of the error, also where it is the last of several models."""
    failure = failure_of(SchemaMismatch("no", provider="fake", model="fake-1"))
    assert (failure.status, failure.code) == (502, "schema_mismatch")


@pytest.mark.slow
async def test_schema_reaches_the_model(start: Start, fakes: Fakes) -> None:
    """From chats and from responses."""
    own = fakes.connectors["own"]
    own.model_info = evolve(own.model_info, capabilities=frozenset({"streaming", "schema"}))
    own.replies = ['{"open": true}']
    running = await start()
    text: Any = {"format": {"type": "json_schema", "name": "opening", "schema": SCHEMA}}
    for path, body in (
        ("/v1/chat/completions", {"messages": QUESTION, "response_format": in_chat(SCHEMA)}),
        ("/v1/responses", {"input": QUESTION, "text": text}),
    ):
        status, told = await running.call("POST", path, json={"model": "nexus/own", **body})
        assert (status, '{\\"open\\": true}' in json.dumps(told)) == (200, True)
    assert [each.response_schema for each in own.options] == [SCHEMA, SCHEMA]


@pytest.mark.slow
async def test_answer_is_held_to_the_schema(raw: RawClient, fakes: Fakes) -> None:
    """Asked for once more, then 502; what is repaired is told as the model wrote it."""
    fakes.connectors["main"].replies = ["It is open.", '{"open": 1}', '{"open": true}']
    body = {"model": "nexus/talk", "messages": QUESTION, "response_format": in_chat(SCHEMA)}
    status, told = await raw.post("/v1/chat/completions", **body)
    assert (status, told["error"]["code"], len(fakes.connectors["main"].prompts)) == (502, "schema_mismatch", 2)
    assert (await raw.post("/v1/chat/completions", **body))[0] == 200


@pytest.mark.slow
async def test_mismatch_is_502_and_ends_a_stream_without_done(raw: RawClient, fakes: Fakes) -> None:
    """What came before it is no answer."""
    error = SchemaMismatch("no", provider="fake", model="fake-1")
    fakes.connectors["main"].replies = [error, ('{"op', error)]
    body = {"model": "nexus/talk", "messages": QUESTION, "response_format": in_chat(SCHEMA)}
    status, told = await raw.post("/v1/chat/completions", **body)
    assert (status, told["error"]["code"]) == (502, "schema_mismatch")
    events = await raw.events("/v1/chat/completions", **body)
    assert (events[-1]["error"]["code"], "[DONE]" in events) == ("schema_mismatch", False)
