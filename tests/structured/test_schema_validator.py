"""Validation by draft 2020-12: what is wrong and where, in a bounded number of steps, and with nothing of the value."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core.structured import SchemaMismatch, validator_of
from nexus_core.structured.schema_validator import MOST_STEPS

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"items": {"enum": ["a"]}},
    },
    "required": ["name"],
    "additionalProperties": False,
}
MISMATCHES: dict[str, tuple[Any, Any, str, str]] = {
    "type": (PERSON, {"name": 1}, "/name", '`type: "string"`'),
    "required": (PERSON, {"age": 1}, "", "the key 'name'"),
    "a bound": (PERSON, {"name": "x", "age": -1}, "/age", "`minimum: 0`"),
    "enum": (PERSON, {"name": "x", "tags": ["a", "b"]}, "/tags/1", '`enum: ["a"]`'),
    "another key": (PERSON, {"name": "x", "a/b": 1}, "/a~1b", "absent"),
    "items after prefixItems": ({"prefixItems": [{}], "items": {"type": "null"}}, [1, 2], "/1", '`type: "null"`'),
    "unevaluated": ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, {"b": 1}, "", "absent"),
    "the same twice": ({"uniqueItems": True}, [{"a": 1}, {"a": 1.0}], "", "uniqueItems"),
    "a pattern": ({"pattern": "^a+$"}, "aab", "", "pattern"),
    "a pattern of names": ({"patternProperties": {"^x": {"type": "null"}}}, {"x1": 1}, "/x1", '`type: "null"`'),
    "one of": ({"oneOf": [{}, {"type": "string"}]}, "x", "", "exactly one"),
    "a branch": ({"anyOf": [{"type": "string"}, {"properties": {"a": {"const": 1}}}]}, {"a": 2}, "/a", "`const: 1`"),
}
SOUND: dict[str, tuple[Any, Any]] = {
    "a whole number as a float": ({"type": "integer"}, 3.0),
    "true is not 1": ({"uniqueItems": True}, [1, True, "1", [1], [True]]),
    "a pattern of names and no other": ({"patternProperties": {"^x": {}}, "additionalProperties": False}, {"x": 1}),
    "format is a remark": ({"format": "date"}, "soon"),
    "a digit is one of ten": ({"not": {"pattern": r"^\d$"}}, "\N{ARABIC-INDIC DIGIT THREE}"),
}
PART = {"type": "object", "required": ["n"], "properties": {"n": {"$ref": "#/$defs/n"}}}
DOUBLING: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 30)}
TWICE: dict[str, Any] = {
    f"d{n}": {"$ref": f"#/$defs/d{n - 1}", "$dynamicRef": f"#/$defs/d{n - 1}"} for n in range(1, 50)
}
NAMES = [f"n{number}" for number in range(9_000)]
HOSTILE: dict[str, tuple[Any, Any]] = {
    "a doubling reference": ({"$ref": "#/$defs/d29", "$defs": {**DOUBLING, "d0": {}}}, 1),
    "branches of a recursion": ({"$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [PART, dict(PART)]}}}, 60),
    "alternatives": ({"pattern": "(a|a)*$"}, "a" * 5_000 + "!"),
    "nested repeats": ({"pattern": "^(a+)+$"}, "a" * 5_000 + "!"),
    "repeats that look ahead": ({"pattern": "^(?:(?=a)a|a(?=a)|a)*$"}, "a" * 5_000 + "!"),
    "a reference back": ({"pattern": r"^(a*)*\1b$"}, "a" * 5_000),
    "many searches": ({"patternProperties": {f"(?=a)a+{n}": {} for n in range(200)}}, {"a" * n: 1 for n in range(900)}),
    "many items": ({"uniqueItems": True}, [{"a": [n]} for n in range(20_000)]),
    "references looked at again": (
        {"unevaluatedProperties": False, "$ref": "#/$defs/d49", "$defs": {**TWICE, "d0": {}}}, {"a": 1},
    ),
    "many required": ({"items": {"required": NAMES}}, [{}] * 8_000),
    "many values": ({"items": {"enum": NAMES}}, ["x"] * 8_000),
    "many alternatives": ({"items": {"anyOf": [False] * 9_000}}, [1] * 8_000),
    "many looks at many items": ({"allOf": [{"items": True}] * 4_000}, [1] * 8_000),
    "many names looked for in many": (
        {"allOf": [{"unevaluatedProperties": True}] * 4_000}, dict.fromkeys(NAMES, 1),
    ),
    "many keywords": ({"items": {"allOf": [{"type": "integer"}] * 100}}, [1] * 20_000),
}  # fmt: skip


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"n": value}
    return value


@pytest.mark.parametrize(("schema", "value", "pointer", "expected"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_mismatch_has_its_place_and_what_is_expected(schema: Any, value: Any, pointer: str, expected: str) -> None:
    """As JSON Pointer, and in the words of the schema."""
    mismatch = validator_of(schema).find_mismatch(value)
    assert mismatch is not None
    assert mismatch.pointer == pointer
    assert expected in mismatch.expected


@pytest.mark.parametrize(("schema", "value"), SOUND.values(), ids=SOUND)
def test_a_value_that_matches_has_no_mismatch(schema: Any, value: Any) -> None:
    """By the words of the draft where libraries differ."""
    assert validator_of(schema).find_mismatch(value) is None


def test_a_mismatch_tells_nothing_of_the_value() -> None:
    """It may be an answer, and messages of errors hold none."""
    schema = {"properties": {"a": {"type": "integer"}, "b": {"maxLength": 3}, "c": {"not": {}}}}
    for key in schema["properties"]:
        assert "secret" not in str(validator_of(schema).find_mismatch({key: "secret"}))


@pytest.mark.slow
@pytest.mark.parametrize(("schema", "value"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_schema_takes_a_bounded_number_of_steps(schema: Any, value: Any) -> None:
    """It is decided, or given up as too long; the limit of pytest is what tells that it hangs."""
    mismatch = validator_of(schema).find_mismatch(deep(value) if value == 60 else value)
    assert mismatch is None or isinstance(mismatch, SchemaMismatch)


def test_what_takes_too_many_steps_is_a_mismatch() -> None:
    """And the next value has all steps again."""
    validator = validator_of({"items": {"type": "integer"}})
    assert f"{MOST_STEPS:,} steps" in str(validator.find_mismatch([1] * (MOST_STEPS + 1)))
    assert validator.find_mismatch([1] * 1_000) is None


def test_a_number_that_is_no_float_is_a_mismatch() -> None:
    """And no failure of the validation."""
    assert "smaller numbers" in str(validator_of({"multipleOf": 0.5}).find_mismatch(10**400))


def test_a_long_and_sound_value_has_steps_enough() -> None:
    """Five hundred objects of thirty fields, of which one is out of a hundred."""
    fields: Any = {f"f{number}": {"type": "string"} for number in range(30)} | {"f0": {"enum": NAMES[:100]}}
    schema = {"items": {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}}
    assert validator_of(schema).find_mismatch([dict.fromkeys(fields, "n99")] * 500) is None
