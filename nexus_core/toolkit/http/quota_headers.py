"""Quota headers: what a service tells of its rate limits with each answer, in the spellings that services use.

`x-ratelimit-limit-requests`, `-remaining-requests` and `-reset-requests`, and the same of tokens, as OpenAI and most
others have them, with a reset such as `6m0s`, `20ms` or seconds; `x-ratelimit-limit` and so on without a unit; and
`ratelimit-limit` and so on of the draft of the IETF (draft-ietf-httpapi-ratelimit-headers).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite

from nexus_core.contract.values import Quota, QuotaLimit

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d{1,12}(?:\.\d{1,12})?(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SINCE_EPOCH_S = 10**9
"""A reset above is a point in time."""
_LONGEST = 12
"""Digits of a count."""


def read_quota(headers: Mapping[str, str]) -> Quota | None:
    """Return what the headers of an answer tell, `None` where they tell nothing that can be understood."""
    if "x-ratelimit-limit-requests" in headers or "x-ratelimit-limit-tokens" in headers:
        requests, tokens = _limit(headers, "x-ratelimit-{}-requests"), _limit(headers, "x-ratelimit-{}-tokens")
        return None if requests is tokens is None else Quota(requests=requests, tokens=tokens)
    for form in ("x-ratelimit-{}", "ratelimit-{}"):
        if form.format("limit") in headers and (requests := _limit(headers, form)) is not None:
            return Quota(requests=requests)
    return None


def _limit(headers: Mapping[str, str], form: str) -> QuotaLimit | None:
    limit = _count(headers.get(form.format("limit")))
    remaining = _count(headers.get(form.format("remaining")))
    reset_s = _seconds(headers.get(form.format("reset")))
    if not limit or remaining is None or reset_s is None:
        return None
    return QuotaLimit(limit=limit, remaining=min(remaining, limit), reset_s=reset_s)


def _count(text: str | None) -> int | None:
    """Return a whole number; what follows a comma or semicolon are further policies."""
    number = re.split("[,;]", text or "")[0].strip()
    return int(number) if number.isascii() and number.isdigit() and len(number) <= _LONGEST else None


def _seconds(text: str | None) -> float | None:
    text = (text or "").strip().lower()
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    try:
        seconds = float(text)
    except ValueError:
        return _until(text)
    if seconds > _SINCE_EPOCH_S:
        seconds -= datetime.now(UTC).timestamp()
    return max(0.0, seconds) if isfinite(seconds) else None


def _until(text: str) -> float | None:
    """Return the seconds until a point in time by RFC 3339."""
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return None if moment.tzinfo is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())
