"""Validates values by a JSON Schema of draft 2020-12, in a bounded number of steps; says where and what is wrong.

The steps are counted, since a schema of twenty lines can ask for more of them than there is time: each step is one
keyword held against one value. Messages tell what the schema asks for and nothing of the value: it is an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from threading import Lock
from typing import Any

from attrs import define, frozen
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry

from nexus_core.structured.patterns import compile_pattern
from nexus_core.structured.schema_check import check_schema, pointer

MOST_STEPS = 50_000
"""About a second; an answer of a hundred fields takes some hundred."""
_PARTS_PER_STEP = 16
"""Values of a list or an object, looked at and found right, that take as long as one step."""
_LISTS_OF_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf"})
_UNEVALUATED = frozenset({"unevaluatedItems", "unevaluatedProperties"})
"""What these look at grows with the square of the value."""
_MANY = (list, dict)
_LONGEST_SHOWN = 200
_ROOT_ONLY = frozenset({"$schema", "$id"})

Errors = Iterator[ValidationError]
Keyword = Callable[[Any, Any, Any, Any], "Errors | None"]


@frozen(kw_only=True)
class SchemaMismatch:
    """Where a value is not what its schema allows, and what is expected there."""

    pointer: str
    """JSON Pointer (RFC 6901) into the value; `""` is all of it."""
    expected: str

    def __str__(self) -> str:
        """Return it in words: where, and what."""
        return f"{f'at `{self.pointer}`' if self.pointer else 'as a whole'} it is to be {self.expected}"


class _TooManySteps(Exception):
    """The validation of a value takes too long."""


@define(eq=False, repr=False)
class _Budget:
    left: int = MOST_STEPS

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise _TooManySteps


class SchemaValidator:
    """Validates by one schema; raises InvalidSchemaError where that is none."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        check_schema(schema)
        self._budget = _Budget()
        self._lock = Lock()  # of the budget: validation itself shares nothing
        top = {key: value for key, value in schema.items() if key not in _ROOT_ONLY}
        self._validator = _bounded_class(self._budget)(_with_unevaluated_last(top), registry=Registry())

    def find_mismatch(self, value: Any) -> SchemaMismatch | None:
        """Return what is wrong with a value of JSON, the most telling of all that is; `None` where nothing is."""
        with self._lock:
            self._budget.left = MOST_STEPS
            try:
                error = best_match(self._validator.iter_errors(value))
            except _TooManySteps:
                return SchemaMismatch(pointer="", expected=f"validated in {MOST_STEPS:,} steps")
            except RecursionError:
                return SchemaMismatch(pointer="", expected="nested less deeply")
            except OverflowError:  # a whole number that is no float
                return SchemaMismatch(pointer="", expected="made of smaller numbers")
        if error is None:
            return None
        return SchemaMismatch(pointer=_cut(pointer(tuple(error.absolute_path))), expected=_expectation(error))


def validator_of(schema: Mapping[str, Any]) -> SchemaValidator:
    """Return the validator of a schema, made once; raises InvalidSchemaError."""
    try:
        text = json.dumps(schema)
    except (TypeError, ValueError, RecursionError):
        return SchemaValidator(schema)  # which says what is wrong
    return _validator_of(text)


@lru_cache(maxsize=64)
def _validator_of(text: str) -> SchemaValidator:
    return SchemaValidator(json.loads(text))


def _bounded_class(budget: _Budget) -> Any:
    """Return a validator class whose keywords spend a budget, and whose patterns are those of a bounded engine."""
    own = {**Draft202012Validator.VALIDATORS, **_pattern_keywords(budget), "uniqueItems": _unique_items}

    def counted(name: str, keyword: Keyword) -> Keyword:
        def spend_and_check(validator: Any, value: Any, instance: Any, schema: Any) -> Errors:
            budget.spend(_steps(name, value, instance))
            for error in keyword(validator, value, instance, schema) or ():
                budget.spend(1)  # one that is found takes as long as a step
                yield error

        return spend_and_check

    bounded = {name: counted(name, keyword) for name, keyword in own.items()}
    return extend(Draft202012Validator, bounded)  # type: ignore[no-untyped-call]  # of types-jsonschema


def _steps(keyword: str, value: Any, instance: Any) -> int:
    """Return what it takes to hold a keyword against a value: lists of either are gone through."""
    steps = 1
    if isinstance(value, _MANY):
        # `true` and `false` in a list of schemas have no keyword that would be counted.
        steps += len(value) if keyword in _LISTS_OF_SCHEMAS else len(value) // _PARTS_PER_STEP
    if isinstance(instance, _MANY):
        parts = len(instance)
        steps += (parts // _PARTS_PER_STEP) ** 2 if keyword in _UNEVALUATED else parts // _PARTS_PER_STEP
    return steps


def _with_unevaluated_last(schema: Any) -> Any:
    """Return a schema whose `unevaluated...` are looked at last: they follow references again, and nothing counts that.

    What they would follow without end has then spent the budget before.
    """
    if isinstance(schema, dict):
        ordered = sorted(schema.items(), key=lambda item: item[0] in _UNEVALUATED)
        return {name: _with_unevaluated_last(part) for name, part in ordered}
    return [_with_unevaluated_last(part) for part in schema] if isinstance(schema, list | tuple) else schema


def _pattern_keywords(budget: _Budget) -> dict[str, Keyword]:
    def is_found(pattern: str, text: str) -> bool:
        compiled = compile_pattern(pattern)
        budget.spend(compiled.steps(text))
        return compiled.is_found(text)

    def pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Errors:
        if isinstance(instance, str) and not is_found(value, instance):
            yield ValidationError("does not match")

    def pattern_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Errors:
        for each, part in value.items() if isinstance(instance, dict) else ():
            for name, found in instance.items():
                if is_found(each, name):
                    yield from validator.descend(found, part, path=name, schema_path=each)

    def additional_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Errors:
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, found in instance.items() if isinstance(instance, dict) else ():
            if name in known or any(is_found(each, name) for each in patterns):
                continue
            if value is False:
                yield ValidationError("has another key", path=[name])
            else:
                yield from validator.descend(found, value, path=name)

    return {
        "pattern": pattern,
        "patternProperties": pattern_properties,
        "additionalProperties": additional_properties,
    }


def _unique_items(validator: Any, value: Any, instance: Any, schema: Any) -> Errors:
    # In place of the library's own, which compares each item with each other one.
    if value and isinstance(instance, list) and len({_frozen(item) for item in instance}) < len(instance):
        yield ValidationError("has an item twice")


def _frozen(value: Any) -> Any:
    """Return something hashable that is equal where JSON values are: 1 is 1.0 and not true."""
    match value:
        case dict():
            return frozenset((name, _frozen(part)) for name, part in value.items())
        case list():
            return tuple(map(_frozen, value))
        case bool():
            return (bool, value)
    return value


def _expectation(error: Any) -> str:
    """Return what the schema asks for at the place of an error, in words that tell nothing of the value."""
    keyword, wanted = str(error.validator), error.validator_value
    if keyword == "required":
        missing = [name for name in wanted if name not in error.instance]
        return _cut("an object with the key " + " and ".join(map(repr, missing[:5])))
    if keyword in ("additionalProperties", "unevaluatedProperties") and wanted is False:
        return "absent: the schema has no such key"
    if keyword in ("anyOf", "oneOf"):
        return f"what {'exactly one' if keyword == 'oneOf' else 'one'} of the schemas in `{keyword}` allows"
    if error.schema is False or keyword == "None":
        return "absent: the schema is `false`"
    if keyword in ("not", "if", "then", "else", "contains", "unevaluatedItems", "propertyNames", "dependentSchemas"):
        return f"what `{keyword}` asks for"
    return _cut(f"of `{keyword}: {json.dumps(wanted, ensure_ascii=False, default=str)}`")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 4] + " ..."
