"""What an unquoted word of YAML 1.2 means: the core schema, where `no`, `12:30` and `2024-01-01` are text."""

from __future__ import annotations

import re

PATTERN = r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d)"
DURATIONS = "a text like 500ms, 30s or 7d (units: ms, s, m, h, d)"
"""For messages."""
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
SIZE_PATTERN = r"([0-9]{1,12}) ?(?:([KMGkmg])(?:[iI][bB])?|[bB])?"
SIZES = "a text like 32MiB (units: KiB, MiB, GiB; or K, M, G)"
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def seconds(text: str) -> float | None:
    """Return a duration in seconds, or `None` where the text is none."""
    match = re.fullmatch(PATTERN, text)
    return float(match[1]) * _SECONDS[match[2]] if match else None


def size(text: str) -> int | None:
    """Return a number of bytes, or `None` where the text is none; units are powers of 1,024."""
    match = re.fullmatch(SIZE_PATTERN, text)
    return int(match[1]) * _BYTES[(match[2] or "").upper()] if match else None


_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# A leading zero makes a text: `0777` is octal to some, decimal to others and a postal code to the rest.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"0x": (re.compile(r"0x[0-9a-fA-F]+"), 16), "0o": (re.compile(r"0o[0-7]+"), 8)}
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_NUMBER = 400
_BITS = 64

Value = str | int | float | bool | None


def resolve(text: str) -> Value:
    """Return the value of a plain scalar; raises ValueError for a number that is not finite or too large."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if len(text) > _LONGEST_NUMBER:
        return text if _FLOAT.fullmatch(text) is None else _refuse()
    return _number(text)


def is_number(text: str, *, whole: bool) -> bool:
    """Tell whether a text, unquoted, is a number: a whole one, if that is asked for."""
    return len(text) <= _LONGEST_NUMBER and (_INTEGER if whole else _FLOAT).fullmatch(text) is not None


def _number(text: str) -> Value:
    base = _BASES.get(text[:2])
    if base is not None and base[0].fullmatch(text):
        return _bounded(int(text, base[1]))
    if _INTEGER.fullmatch(text):
        return _bounded(int(text))
    if _NOT_FINITE.fullmatch(text):
        _refuse()
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if abs(number) != float("inf") else _refuse()
    return text


def _bounded(number: int) -> int:
    return number if number.bit_length() <= _BITS else _refuse()


def _refuse() -> int:
    raise ValueError("a number must be finite and fit into 64 bits; put it in quotes to keep it as text")
