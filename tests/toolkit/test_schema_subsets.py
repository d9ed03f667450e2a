"""Schemas as services take them: fewer keywords, and never fewer answers."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nexus_core.toolkit import schema_for_service

LEFT_OUT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a bound": ({"type": "string", "minLength": 3}, {"type": "string"}),
    "deeper": ({"properties": {"a": {"maxItems": 1, "minLength": 3}}}, {"properties": {"a": {"maxItems": 1}}}),
    "under not": ({"not": {"minLength": 3}}, {}),
    "const as enum": ({"const": 3}, {"enum": [3]}),
    "one of several that allow more": (
        {"oneOf": [{"minLength": 3}, {"type": "null"}]}, {"anyOf": [{}, {"type": "null"}]},
    ),
    "what goes by names that are left out": (
        {"patternProperties": {"^x": {}}, "additionalProperties": False}, {},
    ),
    "a remark": ({"title": "T", "type": "null"}, {"type": "null"}),
    "a reference": ({"$ref": "#/$defs/a", "$defs": {"a": {"minLength": 3}}}, {"$ref": "#/$defs/a", "$defs": {"a": {}}}),
    "a reference under not": ({"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"minLength": 3}}}, {"$defs": {"a": {}}}),
}  # fmt: skip
KEYWORDS = ("$ref", "additionalProperties", "anyOf", "enum", "maxItems", "not", "properties", "type")
NAMES = ("a", "b", "xa")
ALL = (
    "type", "enum", "const", "minimum", "maxLength", "properties", "patternProperties", "additionalProperties",
    "required", "items", "prefixItems", "contains", "minContains", "maxContains", "allOf", "anyOf", "oneOf", "not",
    "if", "then", "else", "unevaluatedProperties", "dependentSchemas", "propertyNames", "$ref",
)  # fmt: skip


def random_schema(random: Random, depth: int = 3) -> Any:
    """Return a schema of some of all keywords."""
    if depth == 0:
        return random.choice([True, False, {"type": "integer"}, {"minimum": 2}, {"const": "a"}, {"maxLength": 1}])

    def part() -> Any:
        return random_schema(random, depth - 1)

    makers: dict[str, Any] = {
        "type": lambda: random.choice(["object", "array", "string", "integer"]),
        "enum": lambda: random.sample([1, 2, "a", None], 2),
        "const": lambda: random.choice([1, "a"]),
        "minimum": lambda: random.randrange(3),
        "maxLength": lambda: random.randrange(3),
        "required": lambda: random.sample(NAMES, 1),
        "properties": lambda: {name: part() for name in random.sample(NAMES, 2)},
        "patternProperties": lambda: {"^x": part()},
        "dependentSchemas": lambda: {"a": part()},
        "minContains": lambda: random.randrange(2),
        "maxContains": lambda: random.randrange(1, 3),
        "$ref": lambda: "#/$defs/d",
        **{keyword: lambda: [part(), part()] for keyword in ("allOf", "anyOf", "oneOf", "prefixItems")},
    }
    return {keyword: makers.get(keyword, part)() for keyword in random.sample(ALL, random.randrange(1, 4))}


def random_value(random: Random, depth: int = 2) -> Any:
    plain = [1, 2, 0, "a", "abc", None, True]
    if depth == 0 or random.random() < 0.3:
        return random.choice(plain)
    if random.random() < 0.5:
        return [random_value(random, depth - 1) for _ in range(random.randrange(4))]
    return {name: random_value(random, depth - 1) for name in random.sample(NAMES, random.randrange(4))}


@pytest.mark.parametrize(("schema", "sent"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_keywords_that_a_service_does_not_take_are_left_out(schema: dict[str, Any], sent: dict[str, Any]) -> None:
    """With what would mean something else without them."""
    assert schema_for_service(schema, KEYWORDS) == sent


@pytest.mark.slow
def test_what_a_schema_allows_its_subset_allows_too() -> None:
    """Of random schemas, keywords and values; and a service that takes all is sent all."""
    random, allowed = Random(5), 0
    for _ in range(3_000):
        parts = random_schema(random)
        schema = {**parts, "$defs": {"d": random_schema(random, 1 if "$ref" not in parts else 0)}}
        if "'$ref'" in repr(schema["$defs"]):
            continue  # it may lead to itself
        assert schema_for_service(schema, {*ALL, "$defs"}) == schema
        sent = schema_for_service(schema, random.sample(ALL, random.randrange(len(ALL))))
        whole, part = Draft202012Validator(schema), Draft202012Validator(sent)
        for value in [random_value(random) for _ in range(6)]:
            if whole.is_valid(value):
                allowed += 1
                assert part.is_valid(value), (schema, sent, value)
    assert allowed > 2_000
