"""Lengths of time as people write them: `30`, `500ms`, `30s`, `2m`, `1h`."""

from __future__ import annotations

import re

PATTERN = r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h)"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float | None:
    """Return a duration in seconds, or `None` where the text is none."""
    match = re.fullmatch(PATTERN, text)
    return float(match[1]) * _SECONDS[match[2]] if match else None
