"""Schemas as they are sent: strict where the service can hold to them, and never narrower than what was asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st
from jsonschema import Draft202012Validator
from nexus_openai.strict_schema import is_strict, leave_out, name_schema


def closed(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object of just these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
TREE = {**closed(next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}), "$defs": {"node": closed(name=TEXT)}}


@pytest.mark.parametrize(
    ("schema", "left"),
    [
        (closed(a={**TEXT, "minLength": 2, "default": "x"}), closed(a=TEXT)),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema", **closed(a=TEXT)}, closed(a=TEXT)),
        (closed(a={**TEXT, "format": "uri"}), closed(a=TEXT)),
        (closed(a={**TEXT, "format": "date"}), closed(a={**TEXT, "format": "date"})),
        (closed(a={**TEXT, "pattern": "^(?!x)"}), closed(a=TEXT)),
        (closed(a={"type": "array", "items": TEXT, "uniqueItems": True}), closed(a={"type": "array", "items": TEXT})),
        ({**closed(a=TEXT), "allOf": [{"minProperties": 1}]}, closed(a=TEXT)),
        ({**TREE, "$defs": {"node": {**closed(name=TEXT), "examples": [{}]}}}, TREE),
        (closed(a={"$ref": "#", "description": "Again."}), closed(a={"$ref": "#"})),
        (closed(a={"enum": ["x", None]}), closed(a={"enum": ["x", None], "type": ["null", "string"]})),
        (closed(a={"const": 1}), closed(a={"const": 1, "type": "integer"})),
    ],
    ids=[
        "length",
        "dialect",
        "format",
        "known-format",
        "lookaround",
        "unique",
        "all-of",
        "definitions",
        "beside-ref",
        "enum",
        "const",
    ],
)
def test_what_strict_mode_refuses_is_left_out(schema: dict[str, Any], left: dict[str, Any]) -> None:
    """The rest is sent as strict."""
    assert name_schema(schema) == {"name": "answer", "schema": left, "strict": True}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "array", "items": TEXT},
        {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False},
        {"type": "object", "properties": {"a": TEXT}, "required": ["a"]},
        closed(a={}),
        closed(a=True),
        closed(a={"type": "array"}),
        closed(a={"type": "array", "prefixItems": [TEXT], "items": {"type": "integer"}}),
        {**closed(a=TEXT), "patternProperties": {"^x": TEXT}},
        closed(a={"$ref": "#there"}),
        closed(a={"enum": [{}]}),
        closed(a={"oneOf": [TEXT]}),
        closed(a={"$ref": "https://example.org/a.json"}),
        {**closed(a=TEXT), "anyOf": [closed(a=TEXT)]},
        closed(**{f"p{number}": TEXT for number in range(5001)}),
        closed(a={"enum": [str(number) for number in range(1001)]}),
        closed(a={"enum": ["x" * 100 + str(number) for number in range(251)]}),
    ],
    ids=["open", "array", "optional", "additional", "anything", "true", "any-items", "prefix-items",
         "pattern-properties", "anchor", "objects", "one-of", "remote", "root-any-of", "properties", "values",
         "long-values"],
)  # fmt: skip
def test_what_is_no_strict_schema_is_sent_whole(schema: dict[str, Any]) -> None:
    """As it is, so that services which can do more still hold to it."""
    assert name_schema(schema) == {"name": "answer", "schema": schema, "strict": False}


def test_deep_schema_is_not_strict() -> None:
    """Ten levels are the service's bound."""
    schema = closed(a=TEXT)
    for _ in range(10):
        schema = closed(a=schema)
    assert not is_strict(schema)


@pytest.mark.parametrize(
    ("title", "name"),
    [("A day, or two", "A_day_or_two"), ("Tag é", "Tag"), ("", "answer"), (None, "answer"), ("x" * 99, "x" * 64)],
    ids=["spaces", "accent", "empty", "none", "long"],
)
def test_name_is_the_title(title: Any, name: str) -> None:
    """In the letters that a name may have."""
    assert name_schema({**closed(), "title": title})["name"] == name


KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "object", "array"]),
        "minLength": st.integers(0, 3),
        "format": st.sampled_from(["uri", "date"]),
        "pattern": st.sampled_from(["^a", "(?!a)"]),
        "minimum": st.integers(0, 3),
        "uniqueItems": st.just(True),
        "minProperties": st.integers(0, 2),
        "enum": st.sampled_from([["a", 1, {}], ["a", 2, None, True]]),
        "required": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
        "additionalProperties": st.booleans(),
    },
)
SCHEMAS = st.recursive(
    KEYWORDS,
    lambda inner: st.builds(
        lambda keywords, more: {**keywords, **more},
        KEYWORDS,
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
                "items": inner,
                "anyOf": st.lists(inner, min_size=1, max_size=2),
                "oneOf": st.lists(inner, min_size=1, max_size=2),
                "not": inner,
                "contains": inner,
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "patternProperties": st.fixed_dictionaries({"^a": inner}),
            },
        ),
    ),
    max_leaves=5,
)
VALUES = st.recursive(
    st.sampled_from(["", "a", "ab", 0, 2, None, True]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@given(SCHEMAS, VALUES)
def test_what_matches_the_whole_schema_matches_the_rest(schema: dict[str, Any], value: Any) -> None:
    """Nothing that was allowed becomes forbidden by what is left out, and leaving out twice changes nothing."""
    left = leave_out(schema)
    assert Draft202012Validator(left).is_valid(value) or not Draft202012Validator(schema).is_valid(value)
    assert leave_out(left) == left
