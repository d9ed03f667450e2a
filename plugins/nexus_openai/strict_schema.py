"""JSON Schemas as the service takes them: what is left out of them, and whether it can hold to what is left. Pure.

The rules are those of OpenAI's guide "Structured model outputs" (supported schemas), which other services follow. What
is left out narrows a schema only, so that every answer to the whole schema is one to the rest; the engine validates
answers by the whole one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_KEPT = frozenset({
    "$ref", "$defs", "definitions", "type", "enum", "const", "anyOf", "title", "description", "properties", "required",
    "additionalProperties", "items", "minItems", "maxItems", "pattern", "format", "multipleOf", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum",
})  # fmt: skip
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_OWN_REFS = ("#/$defs/", "#/definitions/")
_WORDS = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_MAPS = ("properties", "$defs", "definitions")
"""Keywords whose values are maps of schemas."""
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_MOST_PROPERTIES, _MOST_LEVELS, _MOST_VALUES, _MOST_CHARACTERS = 5_000, 10, 1_000, 120_000
_MANY_VALUES, _MOST_CHARACTERS_OF_MANY = 250, 15_000
"""Of one enum of texts."""


def write_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `response_format` of chat completions that asks for answers to a schema."""
    return {"type": "json_schema", "json_schema": name_schema(schema)}


def name_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as it is sent, with a name: in its strict form where that exists, else whole."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", str(schema.get("title") or "")).strip("_")[:64] or "answer"
    strict = leave_out(schema)
    if is_strict(strict):
        return {"name": name, "schema": strict, "strict": True}
    return {"name": name, "schema": schema, "strict": False}


def leave_out(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without the keywords that strict mode refuses."""
    kept = {keyword: value for keyword, value in schema.items() if keyword in _KEPT}
    if "$ref" in kept:  # takes no keyword beside it, but definitions at the root
        kept = {keyword: value for keyword, value in kept.items() if keyword in ("$ref", "$defs", "definitions")}
    if "prefixItems" in schema:  # without it the two would say more than before
        kept.pop("items", None)
    if "patternProperties" in schema:
        kept.pop("additionalProperties", None)
    if not kept.keys() & {"type", "anyOf", "$ref"} and kept.keys() & {"enum", "const"}:
        _add_type(kept)
    if kept.get("format") not in _FORMATS:
        kept.pop("format", None)
    if _LOOKAROUND.search(str(kept.get("pattern", ""))):
        del kept["pattern"]
    for keyword in _MAPS:
        if isinstance(kept.get(keyword), Mapping):
            kept[keyword] = {name: _leave_out(part) for name, part in kept[keyword].items()}
    if "items" in kept:
        kept["items"] = _leave_out(kept["items"])
    if isinstance(kept.get("anyOf"), list | tuple):
        kept["anyOf"] = [_leave_out(part) for part in kept["anyOf"]]
    return kept


def _add_type(schema: dict[str, Any]) -> None:
    """Say the type that follows from the values, without which the service refuses them."""
    values = schema.get("enum", [schema.get("const")])
    words = {_WORDS.get(type(value), "") for value in values}
    if words and "" not in words:
        schema["type"] = words.pop() if len(words) == 1 else sorted(words)


def _leave_out(part: Any) -> Any:
    return leave_out(part) if isinstance(part, Mapping) else part


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Tell whether the service can hold to a schema of which nothing has to be left out any more."""
    if schema.get("type") != "object" or "anyOf" in schema:  # of the root
        return False
    properties = values = characters = 0
    for level, part in _parts(schema, 1):
        if level > _MOST_LEVELS or not isinstance(part, Mapping) or not _is_part_strict(part):
            return False
        properties += len(part.get("properties", ()))
        names = [name for keyword in _MAPS for name in part.get(keyword, ())]
        listed = [*part.get("enum", ()), *([part["const"]] if "const" in part else [])]
        texts = [value for value in listed if isinstance(value, str)]
        values += len(listed)
        characters += sum(map(len, names)) + sum(map(len, texts))
        if len(listed) > _MANY_VALUES and sum(map(len, texts)) > _MOST_CHARACTERS_OF_MANY:
            return False
    return properties <= _MOST_PROPERTIES and values <= _MOST_VALUES and characters <= _MOST_CHARACTERS


def _is_part_strict(part: Mapping[str, Any]) -> bool:
    if not part.keys() & {"$ref", "type", "anyOf"}:
        return False  # anything may stand there
    ref = str(part.get("$ref", "#"))
    if ref != "#" and not ref.startswith(_OWN_REFS):
        return False
    kinds = part.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if "array" in kinds and "items" not in part:
        return False
    if "object" not in kinds and "properties" not in part:
        return True
    complete = set(part.get("required", ())) == set(part.get("properties", ()))
    return complete and part.get("additionalProperties") is False


def _parts(schema: Any, level: int) -> Iterator[tuple[int, Any]]:
    """Yield a schema and those within it, each with how deep it stands."""
    yield level, schema
    if level > _MOST_LEVELS or not isinstance(schema, Mapping):
        return
    inner = [part for keyword in _MAPS for part in dict(schema.get(keyword) or {}).values()]
    for part in [*inner, *(schema.get("anyOf") or ()), *([schema["items"]] if "items" in schema else [])]:
        yield from _parts(part, level + 1)
