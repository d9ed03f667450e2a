"""JSON Schemas before anything is held to them: what is none is refused, and so is what could take too long."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nexus_core.structured import InvalidSchemaError, check_schema, validator_of


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


def chain(length: int) -> dict[str, Any]:
    parts: dict[str, Any] = {f"d{place}": {"$ref": f"#/$defs/d{place + 1}"} for place in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**parts, f"d{length}": {}}}


SOUND: dict[str, dict[str, Any]] = {
    "empty": {},
    "with its draft": {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://x.example/y"},
    "recursive": {"$defs": {"n": {"properties": {"n": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"},
    "recursive at the root": {"properties": {"children": {"type": "array", "items": {"$ref": "#"}}}},
    "dynamic": {"$dynamicAnchor": "n", "properties": {"n": {"$dynamicRef": "#n"}}},
    "an anchor": {"$defs": {"a": {"$anchor": "here"}}, "$ref": "#here"},
    "an escaped pointer": {"$defs": {"a/b c": {}}, "$ref": "#/$defs/a~1b%20c"},
    "data that looks like a reference": {"const": {"$ref": "http://127.0.0.1:9/x"}, "enum": [{"$id": "x"}]},
    "a property named like a keyword": {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}},
    "a pattern that looks around": {"pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"},
    "unknown keywords": {"x-order": 3, "propertyOrdering": ["a"]},
    "prefixItems": {"prefixItems": [{"type": "string"}], "items": False},
}
REFUSED: dict[str, tuple[Any, str]] = {
    "no object": (True, "must be an object"),
    "a wrong type": ({"type": "txt"}, "/type"),
    "a wrong place": ({"properties": {"a": {"minimum": "1"}}}, "/properties/a/minimum"),
    "items of draft 7": ({"items": [{"type": "string"}]}, "/items"),
    "another draft": ({"$schema": "http://json-schema.org/draft-07/schema#"}, "draft 2020-12"),
    "a remote reference": ({"$ref": "http://127.0.0.1:9/x"}, "none is fetched"),
    "a file": ({"allOf": [{"$ref": "file:///etc/hostname"}]}, "none is fetched"),
    "a relative reference": ({"$id": "http://127.0.0.1:9/", "not": {"$ref": "x.json"}}, "none is fetched"),
    "a remote dynamic reference": ({"$dynamicRef": "http://127.0.0.1:9/x#n"}, "none is fetched"),
    "a reference to nothing": ({"$ref": "#/$defs/gone"}, "leads to no schema"),
    "a reference into data": ({"enum": [{"pattern": "("}], "$ref": "#/enum/0"}, "leads to no schema"),
    "itself": ({"$ref": "#"}, "without end"),
    "itself on a way round": (
        {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"if": {"$ref": "#/$defs/a"}}}}, "without end",
    ),
    "itself, dynamic": ({"$dynamicAnchor": "n", "not": {"$dynamicRef": "#n"}}, "without end"),
    "an id within": ({"$defs": {"a": {"$id": "http://x.example/"}}}, "at the top alone"),
    "a draft within": ({"not": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "at the top alone"),
    "too deep": (nested(40), "levels deep"),
    "far too deep": (nested(100_000), "levels deep"),
    "too long a chain": (chain(3_000), "through more than"),
    "too many values": ({"enum": [*range(20_000)]}, "more than 10,000 values"),
    "too large": ({"description": "x" * 300_000}, "KiB"),
    "no JSON": ({"const": {1, 2}}, "no JSON"),
    "not a number": ({"minimum": math.nan}, "no JSON"),
    "no pattern": ({"pattern": "("}, "/pattern"),
    "no pattern of names": ({"patternProperties": {"[": {}}}, "/patternProperties/["),
    "a pattern that is huge when compiled": ({"pattern": "((((a{1000}){1000}){1000}){1000})"}, "too large"),
    "a long pattern": ({"pattern": "a" * 1_001}, "1,000 characters"),
    "many patterns": ({"allOf": [{"pattern": f"a{n}"} for n in range(201)]}, "200 patterns"),
}  # fmt: skip


@pytest.mark.parametrize("schema", SOUND.values(), ids=SOUND)
def test_a_sound_schema_is_taken(schema: dict[str, Any]) -> None:
    """And makes a validator."""
    check_schema(schema)
    validator_of(schema).find_mismatch({"a": 1})


@pytest.mark.parametrize(("schema", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_schema_or_could_take_too_long_is_refused(schema: Any, why: str) -> None:
    """With its place and what to do, before any value is held to it."""
    with pytest.raises(InvalidSchemaError) as raised:
        check_schema(schema)
    assert why in str(raised.value)
