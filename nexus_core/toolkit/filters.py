"""Filters: conditions on the fields of items, as `where:` of a pipeline, a request or a command says them.

    {tags: public, year: {gte: 2020, lt: 2024}, author: [Ann, Bob], status: {not: draft}, reviewed: {exists: true}}

All conditions hold together. `id`, `title`, `kind`, `source` and `tags` are those of the item; any other field is one
of its metadata, `a.b` one within another. A field that is a list holds a value where any of its elements is it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from attrs import define, frozen

from nexus_core.contract.values import Item, Value
from nexus_core.toolkit.suggest import did_you_mean

OWN_FIELDS = ("id", "title", "kind", "source", "tags")
"""Fields of the item itself."""
OPERATORS = ("equals", "in", "gt", "gte", "lt", "lte", "exists", "not")
MOST_CONDITIONS, MOST_VALUES = 32, 1000
_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?)?)?")
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": lambda value, bound: bool(value > bound),
    "gte": lambda value, bound: bool(value >= bound),
    "lt": lambda value, bound: bool(value < bound),
    "lte": lambda value, bound: bool(value <= bound),
}

Scalar = str | int | float | bool | None


@frozen(eq=False, repr=False)
class Condition(Value):
    """One condition on one field."""

    field: str
    operator: str
    """One of `OPERATORS` but `not`."""
    operands: tuple[Scalar, ...]
    """One of them, but for `in`."""
    negated: bool = False
    """It must not hold: so it does where there is no such field."""

    @property
    def requires_tag(self) -> bool:
        """Whether it asks for one tag."""
        return self.field == "tags" and self.operator == "equals" and not self.negated

    def holds(self, values: Sequence[Any]) -> bool:
        """Tell whether it holds for the values of its field; none where there is no such field."""
        return self._is_true_of(values) != self.negated

    def _is_true_of(self, values: Sequence[Any]) -> bool:
        if self.operator == "exists":
            return bool(values) == self.operands[0]
        if self.operator in ("equals", "in"):
            return any(_same(value, operand) for value in values for operand in self.operands)
        return any(_compared(value, self.operator, self.operands[0]) for value in values)


@frozen(eq=False, repr=False)
class Filter(Value):
    """Conditions that hold together; none of them lets every item through."""

    conditions: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.conditions)

    @property
    def required_tags(self) -> tuple[str, ...]:
        """The tags that an item must have, each of which an index of tags finds."""
        return tuple(str(each.operands[0]) for each in self.conditions if each.requires_tag)

    def without_tags(self) -> Filter:
        """Return what is left to look at where the required tags are there."""
        return Filter(tuple(each for each in self.conditions if not each.requires_tag))

    @property
    def fields(self) -> frozenset[str]:
        """The fields that it looks at."""
        return frozenset(each.field for each in self.conditions)

    def matches(self, item: Item) -> bool:
        """Tell whether an item is what is asked for."""
        return self.holds(
            {"id": item.id, "title": item.title, "kind": item.kind, "source": item.source, "tags": item.tags},
            item.metadata,
        )

    def holds(self, own: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
        """Tell the same of an item's own fields, those that the filter looks at, and its metadata."""
        return all(each.holds(values_of(each.field, own, metadata)) for each in self.conditions)


EVERYTHING = Filter()
"""Lets every item through."""


def tag_conditions(tags: Iterable[str]) -> tuple[Condition, ...]:
    """Return the conditions that an item has all of some tags."""
    return tuple(Condition("tags", "equals", (tag,)) for tag in tags)


def parse_filter(told: object) -> Filter:
    """Return the filter that a mapping says; raises ValueError with what is wrong, where, and what could be meant."""
    if not told and isinstance(told, Mapping | None):
        return EVERYTHING
    if not isinstance(told, Mapping):
        raise ValueError(f"`where` is of type {type(told).__name__}: give a mapping of fields, as {{tags: public}}")
    conditions = tuple(each for field, value in told.items() for each in _conditions(field, value))
    if len(conditions) > MOST_CONDITIONS:
        raise ValueError(f"`where` has {len(conditions)} conditions: {MOST_CONDITIONS} are the most")
    return Filter(conditions)


def _conditions(field: object, told: object, *, negated: bool = False) -> list[Condition]:
    if not isinstance(field, str) or not field or not all(field.split(".")):
        raise ValueError(f"`where`: {field!r} is the name of no field")
    if not isinstance(told, Mapping):
        is_list = isinstance(told, Sequence) and not isinstance(told, str)
        return [_condition(field, "in" if is_list else "equals", told, negated=negated)]
    if not told:
        raise ValueError(f"`where`: {field} has no condition: give a value, or one of {', '.join(OPERATORS)}")
    found: list[Condition] = []
    for operator, operand in told.items():
        if operator == "not":
            if negated:
                raise ValueError(f"`where`: {field} has a `not` within a `not`: leave both out")
            found += _conditions(field, operand, negated=True)
        elif operator in OPERATORS:
            found.append(_condition(field, operator, operand, negated=negated))
        else:
            meant = did_you_mean(str(operator), OPERATORS)
            raise ValueError(f"`where`: {field} has {operator!r}{meant}; known: {', '.join(OPERATORS)}")
    if negated and len(found) > 1:
        raise ValueError(f"`where`: the `not` of {field} has {len(found)} conditions: give one each")
    return found


def _condition(field: str, operator: str, operand: object, *, negated: bool) -> Condition:
    where = f"`where`: {field}"
    if operator == "in":
        if not isinstance(operand, Sequence) or isinstance(operand, str) or not operand:
            raise ValueError(f"{where}: `in` takes a list of values")
        if len(operand) > MOST_VALUES:
            raise ValueError(f"{where}: `in` has {len(operand):,} values: {MOST_VALUES:,} are the most")
        return Condition(field, operator, tuple(_scalar(each, where) for each in operand), negated)
    if operator == "exists" and not isinstance(operand, bool):
        raise ValueError(f"{where}: `exists` takes true or false")
    value = _scalar(operand, where)
    if operator in _COMPARED and (value is None or isinstance(value, bool)):
        raise ValueError(f"{where}: `{operator}` takes a number, a date or a text")
    if operator == "equals" and value is None:
        return Condition(field, "exists", (False,), negated)
    return Condition(field, operator, (value,), negated)


def _scalar(value: object, where: str) -> Scalar:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"{where} is compared with what is of type {type(value).__name__}: give a text, number or date")


def values_of(field: str, own: Mapping[str, Any], metadata: Mapping[str, Any]) -> Sequence[Any]:
    """Return the values of a field of an item, of a list its elements; none where there is no such field."""
    if field in OWN_FIELDS:
        value = own.get(field)
    elif field in metadata:
        value = metadata[field]
    else:
        value = metadata
        for part in field.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [each for each in value if each is not None]
    return [] if value is None or value == "" else [value]


def _same(value: Any, operand: Scalar) -> bool:
    if isinstance(value, bool) != isinstance(operand, bool):
        return False
    if isinstance(value, str) and isinstance(operand, int | float):
        return number_of(value) == operand
    if isinstance(operand, str) and isinstance(value, int | float):
        return number_of(operand) == value
    return bool(value == operand)


def _compared(value: Any, operator: str, bound: Scalar) -> bool:
    if isinstance(bound, int | float):
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else number_of(value)
        return number is not None and _COMPARED[operator](number, bound)
    moment = moment_of(bound)
    if moment is not None:
        own = moment_of(value)
        return own is not None and _COMPARED[operator](own, moment)
    return isinstance(value, str) and _COMPARED[operator](value, bound)


def number_of(text: Any) -> float | None:
    """Return the number that a text is, with which numbers are compared; `None` for what is none."""
    if not isinstance(text, str):
        return None
    try:
        return float(text)
    except ValueError:
        return None


def moment_of(text: Any) -> datetime | None:
    """Return the moment that a date begins with, a year or a month too, in UTC where it tells no zone."""
    if isinstance(text, int) and not isinstance(text, bool) and 1000 <= text <= 9999:
        text = str(text)
    if not isinstance(text, str) or _DATE.fullmatch(text) is None:
        return None
    try:
        found = datetime.fromisoformat(text + "-01-01"[len(text) - 4 if len(text) <= 7 else 6 :])
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@define(eq=False, repr=False)
class FilteredItems:
    """The items that pass a filter: of the same tuple as the last time the same one, so that an index over it holds."""

    where: Filter
    _given: tuple[Item, ...] = ()
    _passed: tuple[Item, ...] = ()

    def of(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """Return those of some items that pass."""
        if items is not self._given:
            self._given, self._passed = items, tuple(item for item in items if self.where.matches(item))
        return self._passed
