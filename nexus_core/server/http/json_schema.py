"""JSON Schemas of what clients send: one declaration checks the bodies and stands in the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import fastjsonschema

from nexus_core.server.errors import Failure
from nexus_core.toolkit.attachments import ATTACHMENTS
from nexus_core.toolkit.suggest import did_you_mean, listed

Check = Callable[[Any], Any]

_LONGEST_PARAM = 200


def text(longest: int = 500, **more: Any) -> dict[str, Any]:
    """Return the schema of a text."""
    return {"type": "string", "maxLength": longest, **more}


def closed(
    properties: Mapping[str, Any], required: tuple[str, ...] = (), *, name: str = "", example: Any = None
) -> dict[str, Any]:
    """Return the schema of an object that has these properties and no others; `name` as `named` has it."""
    found: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        found["required"] = list(required)
    if example is not None:
        found["examples"] = [example]
    return named(name, found) if name else found


def named(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that stands in the OpenAPI document once, under its name: generated clients make a type of it."""
    return {"title": name, **schema}


def or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of what may be null instead."""
    if not schema:
        return {}  # any value, and null is one
    return {"anyOf": [dict(schema), {"type": "null"}]}


def array(items: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": dict(items), **more}


def checker(schema: Mapping[str, Any]) -> Check:
    """Return what checks a value against a schema; it raises Failure that says what is wrong and where.

    It is compiled with the first value: that takes some milliseconds, and there are many schemas.
    """
    make_whole, text = _whole_numbers(schema), json.dumps(schema)

    def checked(value: Any) -> Any:
        try:
            found = _compiled(text)(value)
            return found if make_whole is None else make_whole(found)
        except fastjsonschema.JsonSchemaValueException as error:
            why = _closer(error)
            param = _param(why)
            raise Failure(400, "invalid_request", _said(why, param or "the body"), param=param) from error

    return checked


def compile_checks(schemas: Iterable[Mapping[str, Any]]) -> None:
    """Compile the checkers of schemas before their first values come."""
    for schema in schemas:
        _compiled(json.dumps(schema))


def _closer(error: fastjsonschema.JsonSchemaValueException) -> fastjsonschema.JsonSchemaValueException:
    """Return what is wrong by the alternative that was meant: the only one beside null, or that of the value's type."""
    if error.rule != "anyOf":
        return error
    others = [schema for schema in error.rule_definition if schema.get("type") != "null"]
    for schema in others:
        if len(others) == 1 or isinstance(error.value, _TYPES.get(schema.get("type"), ())):
            try:
                _compiled(json.dumps(schema))(error.value, name_prefix=error.name)
            except fastjsonschema.JsonSchemaValueException as closer:
                return _closer(closer)
    return error


_TYPES: Mapping[str, type] = {"string": str, "array": list, "object": dict}


@cache
def _compiled(schema: str) -> Any:
    return fastjsonschema.compile(json.loads(schema), use_default=False)


def _param(error: fastjsonschema.JsonSchemaValueException) -> str | None:
    """Return the name of what is wrong, as in `messages[3].content`: what is missing, or there and unknown, as well."""
    name = (error.name or "").removeprefix("data").removeprefix(".")
    further: Iterable[str] = ()
    if error.rule == "required":
        further = (each for each in error.rule_definition if each not in error.value)
    elif error.rule == "additionalProperties":
        further = (each for each in error.value if each not in error.definition["properties"])
    return ".".join(filter(None, (name, next(iter(further), ""))))[:_LONGEST_PARAM] or None


def _said(error: fastjsonschema.JsonSchemaValueException, param: str) -> str:
    """Return what is wrong, in words: the library's own are those of a program where a name is missing or unknown."""
    if error.rule == "required":
        return f"{param} is missing"
    if error.rule == "additionalProperties":
        known, name = error.definition["properties"], param.rpartition(".")[2]
        within = next((outer for outer, each in known.items() if name in each.get("properties", ())), None)
        hint = did_you_mean(name, known) if within is None else f", but within {within} ({within}.{name})"
        return f"{param} is not known here{hint}; known are {listed(known)}"
    return "the body" + error.message[4:] if error.message.startswith("data ") else error.message.removeprefix("data.")


def _whole_numbers(schema: Mapping[str, Any]) -> Check | None:
    """Return what makes `5.0` the `5` that JSON Schema takes it for, where the schema has whole numbers at all."""
    if schema.get("type") == "integer":
        return int
    if any(each.get("type") == "integer" for each in schema.get("anyOf", ())):
        return lambda value: int(value) if isinstance(value, float) and value.is_integer() else value
    inner = {name: make for name, each in schema.get("properties", {}).items() if (make := _whole_numbers(each))}
    if not inner:
        return None

    def convert(value: Any) -> Any:
        for name, make in inner.items():
            if name in value:
                value[name] = make(value[name])
        return value

    return convert


JSON_OBJECT = named("JsonObject", {"type": "object"})
"""An object of any fields."""
RESPONSE_FORMAT = named("ResponseFormat", {"type": "object"})
"""What OpenAI's services take for the format of an answer."""
QUERY_TEXT = 256 * 1024
"""Characters of a query."""

LLM_OPTIONS = {
    "stop": {"type": "array", "items": text(200), "maxItems": 8},
    "topP": {"type": "number", "minimum": 0, "maximum": 1},
    "frequencyPenalty": {"type": "number", "minimum": -2, "maximum": 2},
    "presencePenalty": {"type": "number", "minimum": -2, "maximum": 2},
    "seed": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "responseFormat": RESPONSE_FORMAT,
}
OPTIONS = closed(
    {
        "modelId": text(),
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "maxTokens": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
        "systemPrompt": text(64 * 1024),
        "conversationId": text(),
        "replaces": text(
            description="The id of a turn of the conversation that is asked again: the turns before it are the history,"
            " and the new one takes its place once its answer is whole."
        ),
        "includeMetadata": {"type": "boolean"},
        "includeTrace": {"type": "boolean"},
        "includeProgress": {"type": "boolean"},
        "stream": {"type": "boolean"},
        "background": {"type": "boolean"},
        "approveTools": {
            "type": "boolean",
            "description": "Ask by an event before a tool of the pipeline changes something.",
        },
        "llmOptions": closed(LLM_OPTIONS, name="LlmOptions"),
    },
    name="QueryOptions",
)
ATTACHMENT = {
    "title": "Attachment",
    "type": "object",
    "properties": {
        "data": {"type": "string", "minLength": 1, "description": "Base64 of a PNG, JPEG, GIF, WebP or PDF."},
        "mediaType": text(100),
        "filename": text(),
        "url": text(8 * 1024, minLength=1),
    },
    "additionalProperties": False,
    "minProperties": 1,
}
"""An image or a PDF by its bytes, or an image by its address."""
QUESTION_DOCUMENT = closed(
    {
        "name": text(4096, minLength=1, description="With its ending, such as `travel.docx`: answers cite it by that."),
        "data": {"type": "string", "description": "Base64 of its bytes."},
    },
    required=("name", "data"),
    name="QuestionDocument",
)
"""A file of any format that is read, asked about once."""
QUERY = closed(
    {
        "query": text(QUERY_TEXT, minLength=1),
        "contextId": text(minLength=1, description="May be missing where there are `documents`."),
        "pipeline": text(),
        "attachments": {"type": "array", "items": ATTACHMENT, "maxItems": ATTACHMENTS},
        "documents": array(
            QUESTION_DOCUMENT,
            maxItems=ATTACHMENTS,
            description="Files that are read into items of this one run, beside those of the context; none is kept.",
        ),
        "options": OPTIONS,
    },
    required=("query",),
    name="Query",
    example={"query": "How many days of leave are there?", "contextId": "handbook"},
)
"""What `POST {prefix}/queries` takes."""
FAILURE = closed(
    {
        "error": {"type": "string"},
        "statusCode": {"type": "integer"},
        "code": {"type": "string"},
        "requestId": {"type": "string"},
        "attempts": array(JSON_OBJECT),
    },
    required=("error", "statusCode", "code", "requestId"),
    name="Failure",
)
"""What every failure of the query API is told as."""
_WHY = {"message": {"type": "string"}, "type": {"type": "string"}, "code": {"type": "string"}}
_ERROR = {**_WHY, "param": or_null({"type": "string"}), "request_id": {"type": "string"}}
OPENAI_FAILURE = closed(
    {"error": closed(_ERROR, required=tuple(_WHY), name="OpenAIError")}, required=("error",), name="OpenAIFailure"
)
"""The same as OpenAI tells it."""
JSON_RPC_FAILURE = closed(
    {
        "jsonrpc": {"const": "2.0"},
        "id": {"type": ["string", "integer", "null"]},
        "error": closed(
            {"code": {"type": "integer"}, "message": {"type": "string"}, "data": {}},
            required=("code", "message"),
            name="JsonRpcError",
        ),
    },
    required=("jsonrpc", "id", "error"),
    name="JsonRpcFailure",
)
"""The same as JSON-RPC tells it."""

TEXT: Mapping[str, Any] = {"type": "string"}
COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
MOMENT: Mapping[str, Any] = {"type": "number", "description": "Seconds since the epoch."}
