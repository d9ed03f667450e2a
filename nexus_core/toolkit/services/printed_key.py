"""Keys as commands print them and files hold them: the key alone, or JSON that says when it expires. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any

from attrs import field, frozen

from nexus_core.contract.errors import NotConfiguredError

KEYS = ("api_key", "apiKey", "key", "access_token", "accessToken", "token", "id_token")
"""What JSON calls the key, the first that is there."""
TIMES = (
    "expires_at", "expiresAt", "expires_on", "expiresOn", "token_expiry", "expiry", "expiration",
    "expirationTimestamp",
)  # fmt: skip
"""What JSON calls its end: seconds or milliseconds since 1970, or a date and time, local where it names no zone."""
LIVES = ("expires_in", "expiresIn")
"""What JSON calls the seconds that are left."""
WITHIN = ("credential", "status", "data")
"""Objects in which `gcloud config config-helper`, Kubernetes and others put all of this."""
_KEY = re.compile(r"[\x21-\x7e]+")
_LONGEST = 32 * 2**10
"""Characters of a key: services take no more in a header, and longer output is cut."""
_MILLISECONDS = 1e11
"""Seconds since 1970 in the year 5138: what is more counts milliseconds."""


@frozen
class ExpiringKey:
    """A key and its end, in seconds since 1970 where it is known."""

    key: str = field(repr=False)
    expires_at: float | None = None

    def expired(self, now: float) -> bool:
        """Tell whether its end has come."""
        return self.expires_at is not None and now >= self.expires_at


def read_key(text: str, origin: str, now: float) -> ExpiringKey:
    """Return the key in a text; raises NotConfiguredError, which shows nothing of the text, where there is none."""
    text = text.strip().removeprefix("\ufeff")
    if not text.startswith(("{", "[", '"')):
        return ExpiringKey(_checked(text, origin))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise NotConfiguredError(f"{origin} gives what begins as JSON and is none") from None
    if isinstance(found, str):
        return ExpiringKey(_checked(found, origin))
    if not isinstance(found, dict):
        found = {}
    for name in WITHIN:
        if not any(key in found for key in KEYS) and isinstance(found.get(name), Mapping):
            found = found[name]
    key = next((found[name] for name in KEYS if isinstance(found.get(name), str) and found[name]), None)
    if key is None:
        raise NotConfiguredError(f"{origin} gives JSON without a key: it is looked for under {', '.join(KEYS)}")
    return ExpiringKey(_checked(key, origin), _end(found, origin, now))


def _checked(key: str, origin: str) -> str:
    key = key.strip()
    if not key:
        raise NotConfiguredError(f"{origin} gives nothing")
    if len(key) > _LONGEST or not _KEY.fullmatch(key):
        raise NotConfiguredError(f"{origin} gives more than a key: one word of ASCII, or JSON, is what is read")
    return key


def _end(found: Mapping[str, Any], origin: str, now: float) -> float | None:
    for name in (*TIMES, *LIVES):
        value = found.get(name)
        if value is None or value == "":
            continue
        seconds = _number(value)
        if seconds is None and name in TIMES and isinstance(value, str):
            seconds = _timestamp(value)
        if seconds is None:
            raise NotConfiguredError(f"{origin} gives a {name!r} that is no time: seconds, or 2026-01-31T12:00:00Z")
        if name in LIVES:
            return now + seconds
        return seconds / 1000 if seconds > _MILLISECONDS else seconds
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _timestamp(value: str) -> float | None:
    try:
        return datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def split_command(command: str | Sequence[str]) -> tuple[str, ...]:
    """Return the words of a command, of a text as a shell would split it; raises ValueError where there are none."""
    try:
        words = tuple(shlex.split(command) if isinstance(command, str) else command)
    except ValueError as error:
        raise ValueError(f"a command that cannot be taken apart ({error}): write it as a list") from None
    if not words or not words[0]:
        raise ValueError("a command that is empty: name the program")
    return words
