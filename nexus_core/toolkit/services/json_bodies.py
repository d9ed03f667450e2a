"""JSON bodies of requests, written as services take them, and of answers, read leniently.

What passes is valid Unicode, and what is cut is told apart from what is wrong.
Besides what the standard allows: a byte order mark, `NaN` and `Infinity`, a comma before a closing bracket, and behind
the value null characters or the `data: [DONE]` of a stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from nexus_core.contract.errors import InvalidRequestError, ProtocolError, TruncatedError

_BOM = b"\xef\xbb\xbf"
_MOST_COMMAS = 8
"""Commas that are left out: each of them costs another reading."""
_DECODER = json.JSONDecoder()
_BEHIND = frozenset({"", "[DONE]", "data:[DONE]", "data: [DONE]"})


def read_json(data: bytes) -> Any:
    """Return the value; invalid UTF-8 and lone surrogates become U+FFFD. Raises TruncatedError or ProtocolError."""
    try:
        return orjson.loads(data)
    except ValueError:
        text = data.removeprefix(_BOM).decode(errors="replace")
    try:
        return _valid(_read_odd(text))  # the tolerant way, for the few bytes that the strict one refuses
    except (ValueError, RecursionError):
        cut = _is_cut(text)
    if cut:
        raise TruncatedError("the answer ends in the middle", code="truncated")
    raise ProtocolError("the answer is no valid JSON", code="json")


def _read_odd(text: str) -> Any:
    for _ in range(_MOST_COMMAS):
        try:
            value, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip()))
        except json.JSONDecodeError as error:
            text = _without_comma(text, error.pos)
        else:
            if text[end:].strip("\0 \t\r\n") in _BEHIND:
                return value
            raise ValueError("more than a value")
    raise ValueError("too many commas")


def _without_comma(text: str, place: int) -> str:
    """Return `text` without the comma that a closing bracket follows at `place`; raises ValueError if there is none."""
    # Python 3.13 points at the comma, older versions at the bracket or behind the comma.
    before = text[: place + 1].rstrip().removesuffix("}").removesuffix("]").rstrip()
    after = text[len(before) :].lstrip()
    if not before.endswith(",") or before[:-1].rstrip().endswith(("{", "[", ",")) or not after.startswith(("}", "]")):
        raise ValueError("no comma to leave out")
    return before[:-1] + after


def _is_cut(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError as error:
        return not text.strip() or str(error).startswith("unexpected end of data")
    return False


def _valid(value: Any) -> Any:
    match value:
        case str():
            return valid_unicode(value)
        case dict():
            return {valid_unicode(key): _valid(inner) for key, inner in value.items()}
        case list():
            return [_valid(inner) for inner in value]
    return value


def valid_unicode(text: str) -> str:
    """Return `text` with pairs of surrogates joined and lone ones replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def write_json(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON; raises InvalidRequestError where it holds what is none."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return _write_carefully(body)


def _write_carefully(body: Mapping[str, Any]) -> bytes:
    # Lone surrogates come from files read with `surrogateescape`; no service takes them.
    try:
        return valid_unicode(json.dumps(body, ensure_ascii=False, allow_nan=False)).encode()
    except (TypeError, ValueError, RecursionError):
        raise _unsendable("an option in extra holds what is no JSON value: use texts, numbers, lists, maps") from None


def merge_extra(body: dict[str, Any], extra: Mapping[str, Any], reserved: frozenset[str]) -> dict[str, Any]:
    """Return a body with the options of one model only; raises InvalidRequestError for what the connector sets."""
    if extra:
        for name in reserved.intersection(extra):
            raise _unsendable(f"the option {name!r} in extra is the connector's own: remove it")
        body.update(extra)
    return body


def _unsendable(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, code="unsendable", request_sent=False)
