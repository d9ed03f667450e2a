"""Arguments of tool calls: whether they arrived whole. What a stream cut off must never be run."""

from __future__ import annotations

import json

from nexus_core.contract.values import FinishReason


def is_json(text: str) -> bool:
    """Tell whether a text is one whole JSON value, as RFC 8259 has it: without `NaN`, and of bounded depth."""
    # Not orjson, which takes 20 ms to import: a run from the shell is over before that.
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def are_whole(arguments: str, finish_reason: FinishReason | None) -> bool:
    """Tell whether the arguments of a call are complete.

    None at all are those of a tool that takes none, unless the answer was cut at its maximum length.
    """
    text = arguments.strip()
    return is_json(text) if text else finish_reason != "length"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
