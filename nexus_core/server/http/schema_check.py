"""Checks values by the part of JSON Schema that the schemas of the server use.

fastjsonschema makes Python code of a schema, and compiles it: some 10 ms and 1.5 MiB for each of the larger ones here,
before the first value is checked. Functions that call each other are there in half a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nexus_core.toolkit.suggest import counted

Schema = Mapping[str, Any]
Check = Callable[[Any], None]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}
_NUMBER = (int, float)
_SAYS_NOTHING = frozenset({"title", "description", "examples", "default"})


class ValueMismatch(ValueError):
    """A value that does not match a schema: where in it, by which rule, and what it must be."""

    def __init__(self, rule: str, message: str, schema: Schema, value: Any) -> None:
        super().__init__(message)
        self.rule = rule
        """The keyword of the schema that the value breaks."""
        self.message = message
        """Such as "must be string"; what must be so is `where`."""
        self.schema = schema
        self.value = value
        """What is wrong, which is the whole value or a part of it."""
        self.where = ""
        """The place of that part, as in `.messages[3].content`; empty for the whole."""


def schema_check(schema: Schema) -> Check:
    """Return what raises ValueMismatch for values that do not match; raises ValueError for an unknown keyword."""
    if unknown := schema.keys() - _MAKERS.keys() - _SAYS_NOTHING:
        raise ValueError(f"no check is known for {', '.join(sorted(unknown))} in a schema")
    checks = tuple(make(schema, schema[rule]) for rule, make in _MAKERS.items() if rule in schema)

    def check(value: Any) -> None:
        for each in checks:
            each(value)

    return checks[0] if len(checks) == 1 else check


def _type(schema: Schema, rule: str | Sequence[str]) -> Check:
    names = _names(rule)
    types = tuple(each for name in names for each in _TYPES[name])
    takes_bool, takes_whole = "boolean" in names, "integer" in names
    message = f"must be {' or '.join(names)}"

    def check(value: Any) -> None:
        if isinstance(value, types) and (takes_bool or not isinstance(value, bool)):
            return
        if not (takes_whole and isinstance(value, float) and value.is_integer()):
            raise ValueMismatch("type", message, schema, value)

    return check


def _alternatives(schema: Schema, rule: Sequence[Schema]) -> Check:
    checks = [schema_check(each) for each in rule]
    others = [(_containers(each), check) for each, check in zip(rule, checks, strict=True) if each != {"type": "null"}]

    def check(value: Any) -> None:
        for each in checks:
            try:
                return each(value)
            except ValueMismatch:
                continue
        for kinds, meant in others:  # it is told by what was meant: the only one, or that of the value's type
            if len(others) == 1 or isinstance(value, kinds):
                return meant(value)
        raise ValueMismatch("anyOf", "cannot be validated by any definition", schema, value)

    return check


def _containers(schema: Schema) -> tuple[type, ...]:
    """Return the types that a schema names, but for numbers and constants: among those a value tells no intention."""
    return tuple(each for name in _names(schema.get("type", ())) for each in _TYPES[name] if each in (str, list, dict))


def _names(rule: str | Sequence[str]) -> Sequence[str]:
    return (rule,) if isinstance(rule, str) else tuple(rule)


def _items(schema: Schema, rule: Schema) -> Check:
    check_item = schema_check(rule)

    def check(value: Any) -> None:
        if isinstance(value, list):
            for at, item in enumerate(value):
                try:
                    check_item(item)
                except ValueMismatch as error:
                    error.where = f"[{at}]{error.where}"
                    raise

    return check


def _properties(schema: Schema, rule: Mapping[str, Schema]) -> Check:
    checks = [(name, schema_check(each)) for name, each in rule.items()]

    def check(value: Any) -> None:
        if isinstance(value, dict):
            for name, each in checks:
                if name in value:
                    try:
                        each(value[name])
                    except ValueMismatch as error:
                        error.where = f".{name}{error.where}"
                        raise

    return check


def _closed(schema: Schema, rule: bool) -> Check:
    if rule is not False:
        raise ValueError("additionalProperties of a schema are false, or not named")
    known = schema.get("properties", {}).keys()
    return _broken_by("additionalProperties", dict, lambda value: value.keys() - known, schema)


def _required(schema: Schema, rule: Sequence[str]) -> Check:
    names = frozenset(rule)
    return _broken_by("required", dict, lambda value: not names <= value.keys(), schema)


def _bound(
    name: str, kinds: type | tuple[type, ...], says: str, breaks: Callable[[Any, Any], bool], *nouns: str
) -> Callable[[Schema, Any], Check]:
    """Return what makes the check of a bound; `says` has its figure as `{}`, `nouns` say what is counted."""

    def make(schema: Schema, rule: Any) -> Check:
        message = says.format(counted(rule, *nouns) if nouns else rule)
        return _broken_by(name, kinds, lambda value: breaks(value, rule), schema, message)

    return make


def _broken_by(
    rule: str,
    kinds: type | tuple[type, ...],
    is_broken: Callable[[Any], object],
    schema: Schema,
    message: str = "",
) -> Check:
    def check(value: Any) -> None:
        if isinstance(value, kinds) and not (kinds is _NUMBER and isinstance(value, bool)) and is_broken(value):
            raise ValueMismatch(rule, message, schema, value)

    return check


def _same(one: Any, other: Any) -> bool:
    """Tell whether JSON values are equal: true is not 1."""
    return bool(one == other and isinstance(one, bool) == isinstance(other, bool))


_MAKERS: Mapping[str, Callable[[Schema, Any], Check]] = {  # in the order of the checks: the first that fails is told
    "type": _type,
    "const": lambda schema, rule: _broken_by(
        "const", object, lambda value: not _same(value, rule), schema, f"must be same as const definition: {rule}"
    ),
    "enum": lambda schema, rule: _broken_by(
        "enum", object, lambda value: not any(_same(value, each) for each in rule), schema, f"must be one of {rule}"
    ),
    "anyOf": _alternatives,
    "minLength": _bound("minLength", str, "must be longer than or equal to {} characters", lambda v, n: len(v) < n),
    "maxLength": _bound("maxLength", str, "must be shorter than or equal to {} characters", lambda v, n: len(v) > n),
    "minimum": _bound("minimum", _NUMBER, "must be bigger than or equal to {}", lambda v, n: v < n),
    "maximum": _bound("maximum", _NUMBER, "must be smaller than or equal to {}", lambda v, n: v > n),
    "exclusiveMinimum": _bound("exclusiveMinimum", _NUMBER, "must be bigger than {}", lambda v, n: v <= n),
    "minItems": _bound("minItems", list, "must contain at least {}", lambda v, n: len(v) < n, "item"),
    "maxItems": _bound("maxItems", list, "must contain less than or equal to {}", lambda v, n: len(v) > n, "item"),
    "items": _items,
    "minProperties": _bound(
        "minProperties", dict, "must contain at least {}", lambda v, n: len(v) < n, "property", "properties"
    ),
    "maxProperties": _bound(
        "maxProperties",
        dict,
        "must contain less than or equal to {}",
        lambda v, n: len(v) > n,
        "property",
        "properties",
    ),
    "required": _required,
    "properties": _properties,
    "additionalProperties": _closed,
}
