"""The wait that the body of an error tells: in a field such as Google's `retryDelay`, or in its words. Pure.

Headers are read elsewhere (`retry_after_s`) and go before it; a wait may be days: the caller caps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any

_FIELDS: Mapping[str, float] = {
    "retrydelay": 1.0, "retry_delay": 1.0, "retry_after": 1.0, "retryafter": 1.0, "retry-after": 1.0,
    "retry_after_seconds": 1.0, "retryafterseconds": 1.0, "retry_after_s": 1.0, "retry_in": 1.0, "wait_seconds": 1.0,
    "resets_in_seconds": 1.0, "reset_in_seconds": 1.0, "resets_in": 1.0, "reset_after": 1.0, "estimated_time": 1.0,
    "retry_after_ms": 0.001, "retryafterms": 0.001, "retry-after-ms": 0.001,
}  # fmt: skip
"""By the name in lower case, with the unit of a plain number in seconds."""
_MOMENTS = ("resets_at", "reset_at", "resetsat", "x-ratelimit-reset")
_MILLISECONDS_FROM = 1e11
"""A moment above is told in milliseconds since 1970."""

_UNITS_S = {"ms": 0.001, "mi": 60.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = (
    r"\d{1,12}(?:\.\d{1,9})?\s?"
    r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])"
)
_DURATION = rf"{_PART}(?:,?\s?(?:and\s)?{_PART}){{0,4}}|(?:\d{{1,6}}(?:\.\d{{1,9}})?[hms]){{1,3}}(?![a-z])"
_SENTENCE = (
    r"(?:try again|retry(?:ing)?|retry[ -]after|wait|available again|resets?|come back)"
    r"(?: (?:your |the |this |another )?(?:request|again))?\s*:?\s*(?:in|after|for)?\s*:?\s*"
    rf"(?:about |approximately |at least |another )?(?P<told>{_DURATION})"
)
_PIECE = r"(\d+(?:\.\d+)?)\s?(ms|milli|mi|[smhd])"


def told_wait_s(layers: Iterable[Mapping[str, Any]], message: str) -> float | None:
    """Return the wait in seconds, `None` where none is told; `layers` are the body's objects, keys in lower case."""
    waits = [wait for layer in layers for wait in _in_fields(layer)]
    sentence = re.search(_SENTENCE, message, re.IGNORECASE)
    if not waits and sentence is not None:
        waits = [_duration_s(sentence["told"])]
    good = [wait for wait in waits if wait > 0 and isfinite(wait)]
    return max(good, default=None)


def _in_fields(layer: Mapping[str, Any]) -> Iterable[float]:
    for name, unit_s in _FIELDS.items():
        if name in layer:
            yield _seconds(layer[name], unit_s)
    for name in _MOMENTS:
        if name in layer and (moment := _seconds(layer[name], 1.0)) > 0:
            moment = moment / 1000 if moment > _MILLISECONDS_FROM else moment
            yield moment - datetime.now(UTC).timestamp()


def _seconds(value: Any, unit_s: float) -> float:
    """Return seconds of a number, a text such as `34.2s`, or an object of seconds and nanoseconds; 0 is unknown."""
    if isinstance(value, dict):
        return _seconds(value.get("seconds"), 1.0) + _seconds(value.get("nanos"), 1e-9)
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d{1,15}(?:\.\d{1,9})?", text, re.ASCII):
            return float(text) * unit_s
        return _duration_s(text) if re.fullmatch(_DURATION, text, re.IGNORECASE) else 0.0
    return float(value) * unit_s if type(value) in (int, float) and 0 < value < 1e15 else 0.0


def _duration_s(text: str) -> float:
    return sum(float(number) * _unit_s(unit.lower()) for number, unit in re.findall(_PIECE, text, re.IGNORECASE))


def _unit_s(unit: str) -> float:
    return 0.001 if unit in ("ms", "milli") else _UNITS_S[unit]
