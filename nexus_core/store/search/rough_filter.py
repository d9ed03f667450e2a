"""A rough filter in SQL: passes over rows that surely do not match, and leaves the others to be looked at.

What a condition means is told in one place, `toolkit/filters.py`: a text may be a number or a date there, and a list
holds what any of its elements is. SQL decides only what is plain: no such field, a whole number outside of a range,
another text. So it may let a row through that does not match, and never the other way round.
"""

from __future__ import annotations

import re

from attrs import frozen

from nexus_core.store.items.fronts import METADATA
from nexus_core.toolkit.filters import OWN_FIELDS, Condition, Filter

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
"""Of a field that is written in JSON as it is, and is not within another one."""
_LARGEST = 2**53
"""Whole numbers up to which SQL and Python compare alike."""
_OUTSIDE = {"gt": "<=", "gte": "<", "lt": ">=", "lte": ">"}


@frozen
class RoughFilter:
    """Two expressions on a row of `items` with their operands: it may match, and it surely does."""

    may: str
    may_operands: tuple[object, ...]
    surely: str
    surely_operands: tuple[object, ...]


NOTHING_KNOWN = RoughFilter("true", (), "false", ())


def rough_filter(where: Filter) -> RoughFilter:
    """Return what SQL can tell of a filter."""
    may: list[str] = []
    surely: list[str] = []
    may_operands: list[object] = []
    surely_operands: list[object] = []
    for condition in where.conditions:
        name, is_absent = condition.field, condition.operator == "exists" and not condition.operands[0]
        if condition.negated or is_absent or name in OWN_FIELDS or not _PLAIN_NAME.fullmatch(name):
            surely.append("false")
            continue
        value = f"(SELECT json_extract({METADATA}, '$.\"{name}\"') AS v)"
        other, sure, operands = _plain_part(condition)
        # What is null, or is not there, holds nothing: SQL's NULL is passed over, too.
        may.append(f"(SELECT v IS NOT NULL AND NOT ({other}) FROM {value})")
        may_operands += operands
        kind = f"json_type({METADATA}, '$.\"{name}\"')"  # tells true from 1, and a list from a text
        surely.append(f"(SELECT {sure.format(kind=kind, whole=METADATA)} FROM {value})")
        surely_operands += operands if "?" in sure else ()
    return RoughFilter(
        " AND ".join(may or ["true"]), tuple(may_operands), " AND ".join(surely or ["true"]), tuple(surely_operands)
    )


def _plain_part(condition: Condition) -> tuple[str, str, list[object]]:
    """Return when a value `v` surely does not hold, and when it surely does where it may, with their operands."""
    operands: list[object] = [*condition.operands]
    marks = ", ".join("?" * len(operands))
    is_whole = "typeof(v) = 'integer'"
    if condition.operator in _OUTSIDE and _is_whole(operands[0]):
        return f"{is_whole} AND v {_OUTSIDE[condition.operator]} ?", f"{is_whole} AND {{kind}} = 'integer'", operands
    if condition.operator in ("equals", "in"):
        if all(_is_whole(operand) for operand in operands):
            return f"{is_whole} AND v NOT IN ({marks})", f"{is_whole} AND {{kind}} = 'integer'", operands
        # A text of nothing is no value of a field, and what is after a NUL is not seen by SQL.
        if all(isinstance(operand, str) and operand and "\0" not in operand for operand in operands):
            # Lists and maps are texts here, of JSON.
            other = f"typeof(v) = 'text' AND v NOT IN ({marks}) AND substr(v, 1, 1) NOT IN ('[', '{{')"
            sure = f"{{kind}} = 'text' AND v IN ({marks}) AND instr({{whole}}, '\\u0000') = 0"
            return other, sure, operands
    return "false", "false", []


def _is_whole(operand: object) -> bool:
    return isinstance(operand, int) and not isinstance(operand, bool) and abs(operand) < _LARGEST
