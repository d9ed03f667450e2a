"""A rough filter in SQL: decides on a row where that is plain, and leaves the others to be looked at.

What a condition means is told in one place, `toolkit/filters.py`: a text may be a number or a date there, and a list
holds what any of its elements is. SQL decides only what is plain: no such field, a whole number outside of a range,
another text. Each condition is 1 where it surely holds, 0 where it surely does not, and 2 where SQL cannot tell. So a
row may be looked at that does not match; none that matches is left out, and none that does not is let through.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import TypeGuard

from attrs import frozen

from nexus_core.store.items.fronts import METADATA
from nexus_core.toolkit.filters import OWN_FIELDS, Condition, Filter, Scalar, moment_of, number_of

_PLAIN_NAME = re.compile(r"[^\x00-\x1f\"'\\.\x7f\ud800-\udfff]+")
"""Of a field that is written in JSON as it is, and is not within another one."""
_LARGEST = 2**53
"""Whole numbers below that are the same for SQL and for Python, whether or not they are written with a point."""
_CLOSE = 1e-9
"""Numbers with a point that are closer than that to a bound, for each 1 of it, are left to Python."""
_MOST_SOUGHT = 8
"""Texts that are looked for in the JSON of a list."""
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_ALL = 2**63 - 1
"""A subquery with so large a limit is worked out once for each row, by SQLite and by Postgres."""

_ROWS = (
    "SELECT key, CASE verdict WHEN 1 THEN NULL ELSE m END{own} FROM (SELECT key, m{own}, {verdict} AS verdict"
    " FROM (SELECT key, {metadata} AS m{own} FROM items WHERE {some} LIMIT {all}) AS written"
    " LIMIT {all}) AS judged WHERE verdict <> 0"
)
_ROWS_BY_OWN_FIELDS = (
    "SELECT key, CASE verdict WHEN 1 THEN NULL ELSE '{{}}' END{own} FROM (SELECT key{own}, {verdict} AS verdict"
    " FROM items WHERE {some} LIMIT {all}) AS judged WHERE verdict <> 0"
)


@frozen
class RoughFilter:
    """A statement for the rows that may match: their keys, their metadata, and the own fields that the filter names.

    The metadata are NULL where the row surely matches.
    """

    _verdict: str
    own: tuple[str, ...]
    _reads_metadata: bool
    operands: tuple[object, ...]
    """Of the filter, which come first."""

    def statement(self, some: str) -> str:
        """Return it for those rows of `items` that a condition of SQL names, whose operands come last; in no order."""
        form = _ROWS if self._reads_metadata else _ROWS_BY_OWN_FIELDS
        own = "".join(f", {name}" for name in self.own)
        return form.format(own=own, verdict=self._verdict, some=some, metadata=METADATA, all=_ALL)

    def unread(self, some: str) -> str:
        """Return one for all of those rows, in which SQL reads no JSON: it has no operands but those of the rows."""
        return f"SELECT {', '.join(['key', METADATA, *self.own])} FROM items WHERE {some}"


def rough_filter(where: Filter) -> RoughFilter:
    """Return what SQL can tell of a filter."""
    verdicts = [_Verdict(condition) for condition in where.conditions]
    return RoughFilter(
        " * ".join(["CAST(1 AS BIGINT)", *(each.text for each in verdicts)]),
        tuple(name for name in OWN_FIELDS if name in where.fields and name != "tags"),
        bool(where.fields.difference(OWN_FIELDS)),
        tuple(operand for each in verdicts for operand in each.operands),
    )


class _Verdict:
    """What SQL can tell of one condition: an expression that is 0, 1 or 2, and its operands in their order."""

    def __init__(self, condition: Condition) -> None:
        self.operands: list[object] = []
        self._asked = condition.operands
        self._operator = condition.operator
        is_absence = condition.operator == "exists" and not condition.operands[0]  # a negation in other words
        self._yes, self._no = ("0", "1") if condition.negated != is_absence else ("1", "0")
        self.text = self._written(condition.field)

    def _written(self, name: str) -> str:
        if name in OWN_FIELDS:
            return "2" if name == "tags" else self._of_text(name)
        if not _PLAIN_NAME.fullmatch(name):
            return "2"
        path = f"""'$."{name}"'"""
        value = f"json_extract(m, {path})"
        verdicts = {  # in the order of their operands
            "null": self._no,
            "integer": self._of_whole(f"CAST({value} AS BIGINT)"),
            "real": self._of_real(f"CAST({value} AS DOUBLE PRECISION)"),
            # A NUL ends a text for SQLite: JSON writes it with this sign.
            "text": rf"CASE WHEN instr(m, '\u') > 0 THEN 2 ELSE {self._of_text(f'CAST({value} AS TEXT)')} END",
            "true": self._of_truth(is_true=True),
            "false": self._of_truth(is_true=False),
            "object": self._yes if self._operator == "exists" else self._no,
            "array": self._of_list(),
        }
        cases = " ".join([f"WHEN '{kind}' THEN {told}" for kind, told in verdicts.items()])
        return f"CASE coalesce(json_type(m, {path}), 'null') {cases} ELSE 2 END"

    def _of_whole(self, value: str) -> str:
        if self._operator == "exists":
            return self._yes
        if self._operator in ("equals", "in"):
            numbers = [number for number in map(_number, self._asked) if number is not None]
            equal = [int(number) for number in numbers if abs(number) < _LARGEST and number == int(number)]
            return self._one_of(value, equal, "2" if any(abs(number) >= _LARGEST for number in numbers) else self._no)
        [bound] = self._asked
        if isinstance(bound, str):
            moment = _utc(bound)
            if moment is None:
                return self._no if moment_of(bound) is None else "2"
            # A number is a year where it has four digits.
            inside = self._outside(value, moment[0], moment[0])
            return f"CASE WHEN {value} NOT BETWEEN 1000 AND 9999 THEN {self._no} ELSE {inside} END"
        if not _is_small(bound):
            return "2"
        rounded = math.floor(bound) if self._operator in ("gt", "lte") else math.ceil(bound)
        return self._compared(value, rounded)

    def _of_real(self, value: str) -> str:
        if self._operator == "exists":
            return self._yes
        if self._operator in ("equals", "in"):
            return self._no if all(_number(each) is None for each in self._asked) else "2"
        [bound] = self._asked
        if isinstance(bound, str):
            return self._no
        if not _is_small(bound):
            return "2"
        margin = _CLOSE * max(1.0, abs(bound))
        return self._outside(value, bound - margin, bound + margin)

    def _of_text(self, value: str) -> str:
        """A text of nothing is no value of a field; one may be a number, or a date."""
        if self._operator == "exists":
            return f"CASE {value} WHEN '' THEN {self._no} ELSE {self._yes} END"
        if self._operator in ("equals", "in"):
            texts = [each for each in self._asked if isinstance(each, str)]
            may_be_others = any(not isinstance(each, str) and _number(each) is not None for each in self._asked)
            is_odd = any("\0" in each for each in texts)
            equal = [each for each in texts if each and "\0" not in each and _is_text(each)]
            return self._one_of(value, equal, "2" if may_be_others or is_odd else self._no)
        [bound] = self._asked
        if not isinstance(bound, str) or "\0" in bound or not _is_text(bound):
            return "2"
        if moment_of(bound) is None:
            return f"CASE {value} WHEN '' THEN {self._no} ELSE {self._compared(value, bound)} END"
        moment = _utc(bound)
        if moment is None:
            return "2"
        # Of another zone, it may be another day there; what is no date at all does not hold.
        _, before, after = moment
        is_out = f"{value} < ?" if self._operator in ("gt", "gte") else f"{value} >= ?"
        self.operands.append(before if self._operator in ("gt", "gte") else after)
        return f"CASE WHEN {is_out} THEN {self._no} ELSE 2 END"

    def _of_truth(self, *, is_true: bool) -> str:
        return self._yes if self._operator == "exists" or any(each is is_true for each in self._asked) else self._no

    def _of_list(self) -> str:
        """Look for texts in the JSON of the whole; all else is within lists as it is outside of them."""
        texts = [each for each in self._asked if isinstance(each, str) and _number(each) is None]
        if self._operator not in ("equals", "in") or len(texts) < len(self._asked) or len(texts) > _MOST_SOUGHT:
            return "2"
        sought = [json.dumps(each, ensure_ascii=False) for each in texts if _is_text(each)]
        if not sought:
            return self._no
        self.operands += sought
        return f"CASE WHEN {' OR '.join(['instr(m, ?) > 0'] * len(sought))} THEN 2 ELSE {self._no} END"

    def _one_of(self, value: str, equal: Sequence[object], otherwise: str) -> str:
        if not equal:
            return otherwise
        self.operands += equal
        return f"CASE WHEN {value} IN ({', '.join('?' * len(equal))}) THEN {self._yes} ELSE {otherwise} END"

    def _compared(self, value: str, bound: object) -> str:
        self.operands.append(bound)
        return f"CASE WHEN {value} {_SIGNS[self._operator]} ? THEN {self._yes} ELSE {self._no} END"

    def _outside(self, value: str, least: float, most: float) -> str:
        """Tell of what is below and above two bounds; what is between them may be either."""
        above, below = (self._yes, self._no) if self._operator in ("gt", "gte") else (self._no, self._yes)
        self.operands += [least, most]
        return f"CASE WHEN {value} < ? THEN {below} WHEN {value} > ? THEN {above} ELSE 2 END"


def _number(operand: Scalar) -> float | None:
    """Return the number that an operand is equal to, if any."""
    if isinstance(operand, bool) or operand is None:
        return None
    return number_of(operand) if isinstance(operand, str) else operand


def _is_small(bound: Scalar) -> TypeGuard[float]:
    return isinstance(bound, int | float) and not isinstance(bound, bool) and abs(bound) < _LARGEST


def _is_text(text: str) -> bool:
    """Tell whether a store can hold a text: half of a surrogate pair is in none."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _utc(bound: str) -> tuple[int, str, str] | None:
    """Return the year of a date, the day before it and the second one after it, of which no zone is on another side."""
    moment = moment_of(bound)
    if moment is None:
        return None
    try:
        day = moment.astimezone(UTC).date()
        return day.year, (day - timedelta(days=1)).isoformat(), (day + timedelta(days=2)).isoformat()
    except OverflowError:  # the first and the last days there are
        return None
