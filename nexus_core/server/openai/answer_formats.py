"""Formats of answers: what a client asks for as `response_format`, as the JSON Schema that an answer has to match."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from nexus_core import structured
from nexus_core.contract.values import NOTHING_ASKED, CallOptions
from nexus_core.server.errors import Failure

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
