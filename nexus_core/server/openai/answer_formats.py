"""Formats of answers: what a client asks for as `response_format`, as the JSON Schema that an answer has to match."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from attrs import evolve

from nexus_core.contract.values import NOTHING_ASKED, CallOptions
from nexus_core.server.errors import Failure

MOST_BYTES = 64 * 1024
MOST_SCHEMAS = 5_000
"""Schemas within a schema, itself included."""
MOST_PATTERNS = 100
PATTERN_CHARACTERS = 500
_VALUES = frozenset({"const", "default", "enum", "examples"})
"""Keywords whose values are data: what looks like a schema there is none."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
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
    inner = f"{where}.json_schema" if within is not asked else where
    schema = within.get("schema") if isinstance(within, Mapping) else None
    if not isinstance(schema, Mapping):
        said = f"{inner}.schema must be a JSON Schema: an object"
        raise Failure(400, "invalid_request", said, param=f"{inner}.schema")
    _check(schema, f"{inner}.schema")
    return schema


def with_schema(options: CallOptions | None, schema: Mapping[str, Any] | None) -> CallOptions | None:
    """Return options that ask for answers of a schema, where there is one."""
    return options if schema is None else evolve(options or NOTHING_ASKED, response_schema=schema)


def _check(schema: Mapping[str, Any], where: str) -> None:
    """Raise Failure for a schema that would be costly to hold an answer to, or that is not all there."""
    try:
        size = len(orjson.dumps(schema))
    except TypeError:  # a number that is longer than any reader takes
        raise _refused(where, "holds a number that is too large") from None
    if size > MOST_BYTES:
        raise _refused(where, f"is longer than {MOST_BYTES:,} bytes")
    patterns = 0
    for count, each in enumerate(_schemas(schema), 1):
        if count > MOST_SCHEMAS:
            raise _refused(where, f"holds more than {MOST_SCHEMAS:,} schemas")
        for name in _REFERENCES:
            target = each.get(name)
            if isinstance(target, str) and not target.startswith("#"):
                raise _refused(
                    where, f"has a {name} to {target[:80]!r}: only those within it, as '#/$defs/x', are read"
                )
        for pattern in _patterns(each):
            patterns += 1
            if patterns > MOST_PATTERNS or len(pattern) > PATTERN_CHARACTERS:
                most = f"{MOST_PATTERNS} patterns, or one of more than {PATTERN_CHARACTERS} characters"
                raise _refused(where, f"holds more than {most}")


def _refused(where: str, why: str) -> Failure:
    return Failure(400, "invalid_request", f"{where} {why}", param=where)


def _schemas(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object of a schema that may be one itself. Bodies are not deep, so that this is not either."""
    if isinstance(value, Mapping):
        yield value
        for name, each in value.items():
            if name not in _VALUES or isinstance(each, Mapping):  # a property may have such a name
                yield from _schemas(each)
    elif isinstance(value, list):
        for each in value:
            yield from _schemas(each)


def _patterns(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the regular expressions of a schema itself."""
    if isinstance(schema.get("pattern"), str):
        yield schema["pattern"]
    if isinstance(schema.get("patternProperties"), Mapping):
        yield from schema["patternProperties"]
