"""One line of JSON into its value: strictly, but with numbers of any length, and told which key came twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

_KEY = re.compile(rb'"\s*+:')
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
"""What orjson would read as a number of fewer digits, or not at all."""


class NoJsonError(ValueError):
    """A line that is no JSON: the reason, without its place."""


def parse(line: bytes) -> tuple[Any, str]:
    """Return the value, and a key that comes twice in one of its objects; raises NoJsonError.

    Numbers that no 64 bits hold are texts of their digits.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not _LONG_NUMBER.search(line):
            raise NoJsonError(_without_place(error)) from error
        return _parse_slowly(line, str(error))
    if _LONG_NUMBER.search(line) or _count_keys(value) < len(_KEY.findall(line)):
        return _parse_slowly(line)
    return value, ""


def _count_keys(value: Any) -> int:
    """Return how many keys all objects of a value have together."""
    count, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            count += len(part)
            waiting.extend(each for each in part.values() if isinstance(each, dict | list))
        elif isinstance(part, list):
            waiting.extend(each for each in part if isinstance(each, dict | list))
    return count


def _parse_slowly(line: bytes, before: str = "") -> tuple[Any, str]:
    """Return the same by the standard library, which tells keys and digits one by one, and is less strict."""
    twice: list[str] = []

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs) and not twice:
            counted = Counter(name for name, _ in pairs)
            twice.append(next(name for name, count in counted.items() if count > 1))
        return found

    try:
        value = json.loads(
            line.decode(), parse_int=_number, parse_float=_fraction, parse_constant=_refuse, object_pairs_hook=unique
        )
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NoJsonError("half of a surrogate pair in a text") from error
    except (ValueError, RecursionError) as error:
        raise NoJsonError(_without_place(before or error)) from error
    return value, twice[0] if twice else ""


def _number(digits: str) -> int | str:
    return int(digits) if len(digits) < 19 or (len(digits) < 21 and -(2**63) <= int(digits) < 2**64) else digits


def _fraction(digits: str) -> float | str:
    value = float(digits)
    return value if abs(value) != float("inf") else digits


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _without_place(error: object) -> str:
    return str(error).rsplit(": line ", 1)[0]
