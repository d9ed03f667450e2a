"""Parameters of OpenAI's API: those that ask for nothing are left out, and those that are not served are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from nexus_core import structured
from nexus_core.contract.values import NOTHING_ASKED, CallOptions
from nexus_core.server.errors import Failure
from nexus_core.server.http.json_schema import array, closed, or_null

IGNORED = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prompt_cache_options", "parallel_tool_calls",
)  # fmt: skip
"""Parameters of each kind of request that many clients send, and that change nothing here."""
IGNORED_OF_CHATS = (*IGNORED, "reasoning_effort", "verbosity")
REFUSED_IN_CHATS: Mapping[str, Sequence[Any]] = {
    "functions": [[]], "function_call": ["none", "auto"],
    "logprobs": [False], "top_logprobs": [0], "logit_bias": [{}], "modalities": [["text"]], "audio": [],
    "prediction": [], "web_search_options": [], "moderation": [],
}  # fmt: skip
"""Parameters that would change the answer and are not served, with the values that ask for nothing."""
IGNORED_OF_RESPONSES = (
    *IGNORED, "reasoning", "truncation", "max_tool_calls",
)  # fmt: skip
REFUSED_IN_RESPONSES: Mapping[str, Sequence[Any]] = {
    "previous_response_id": [], "conversation": [], "prompt": [], "top_logprobs": [0],
    "include": [[], ["reasoning.encrypted_content"]], "moderation": [], "context_management": [[]],
    "background_options": [], "image": [], "access_programs": [],
}  # fmt: skip
_INSTEAD = {
    "functions": "send them as `tools`",
    "function_call": "send it as `tool_choice`",
    "logprobs": "the probabilities of tokens are not told: leave it out",
    "top_logprobs": "the probabilities of tokens are not told: leave it out",
    "web_search_options": "a pipeline searches its own sources: leave it out",
    "prompt": "prompts are not kept: send `instructions` and `input`",
    "previous_response_id": "answers are not kept: send the conversation so far as `input`",
    "conversation": "answers are not kept: send the conversation so far as `input`",
}
"""What to do in place of what is not served."""


def sent_schema(
    parameters: Mapping[str, Any],
    required: Sequence[str],
    ignored: Sequence[str],
    refused: Mapping[str, Sequence[Any]],
    **more: Any,
) -> dict[str, Any]:
    """Return the schema of a body as clients may send it, as the OpenAPI document has it; `more` is for `closed`.

    Parameters may be null, those that are ignored may be anything, and those that are refused may say nothing.
    """
    properties = {name: each if name in required else or_null(each) for name, each in parameters.items()}
    properties |= {name: {} for name in ignored}
    properties |= {name: _one_of(values) for name, values in refused.items()}
    return closed(properties, required=tuple(required), **more)


def _one_of(values: Sequence[Any]) -> dict[str, Any]:
    nothing = {"type": "null"}
    return {"anyOf": [*map(_exactly, values), nothing]} if values else nothing


def _exactly(value: Any) -> dict[str, Any]:
    """Return the schema of one value; of a list or object it is no `enum`, of which generated clients make no type."""
    if isinstance(value, list):
        return array({"enum": value} if value else {}, minItems=len(value), maxItems=len(value))
    if isinstance(value, Mapping):
        return {"type": "object", "maxProperties": 0}
    return {"const": value}


def served_parameters(body: Mapping[str, Any], refused: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return what a body says, without what asks for nothing; raises Failure for what is asked for and not served."""
    given = {name: value for name, value in body.items() if value is not None}
    for name, empty in refused.items():
        if name in given:
            value = given.pop(name)
            if not any(type(each) is type(value) and each == value for each in empty):
                instead = _INSTEAD.get(name, "leave it out")
                raise Failure(400, "unsupported_parameter", f"{name} is not served: {instead}", param=name)
    return given


_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


def response_schema(asked: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
    """Return the schema that a format asks for, `None` for plain text; raises Failure.

    `where` is the format's place in the body. A schema stands within `json_schema` in chats, and beside the type in
    responses.
    """
    kind = asked.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return _ANY_OBJECT
    if kind != "json_schema":
        said = f"{where}.type is none that is served: text, json_object and json_schema are"
        raise Failure(400, "unsupported_parameter", said, param=f"{where}.type")
    within = asked.get("json_schema", asked)
    place = f"{where}.schema" if within is asked else f"{where}.json_schema.schema"
    schema = within.get("schema") if isinstance(within, Mapping) else None
    if not isinstance(schema, Mapping):
        raise Failure(400, "invalid_request", f"{place} must be a JSON Schema: an object", param=place)
    try:
        structured.check_schema(schema)
    except structured.InvalidSchemaError as error:
        at = f" at `{structured.pointer(error.path)}`" if error.path else ""
        said = f"{place} cannot be used{at}"
        raise Failure(400, "invalid_request", f"{said}: {error.why}"[:500], param=place) from error
    return schema


def with_schema(options: CallOptions | None, schema: Mapping[str, Any] | None) -> CallOptions | None:
    """Return options that ask for answers of a schema, where there is one."""
    return options if schema is None else evolve(options or NOTHING_ASKED, response_schema=schema)
