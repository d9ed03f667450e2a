"""JSON bodies of requests, written as services take them, and of answers, read leniently.

What passes is valid Unicode, and what is cut is told apart from what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from nexus_core.contract.errors import InvalidRequestError, ProtocolError, TruncatedError


def read_json(data: bytes) -> Any:
    """Return the value; invalid UTF-8 and lone surrogates become U+FFFD. Raises TruncatedError or ProtocolError."""
    try:
        return orjson.loads(data)
    except ValueError:
        text = data.decode(errors="replace")
    try:
        # The tolerant way, for the few bytes that the strict one refuses: what passes is made strict and read again.
        return orjson.loads(
            valid_unicode(json.dumps(json.loads(text, parse_constant=_refuse_constant), ensure_ascii=False))
        )
    except (ValueError, RecursionError):
        cut = _is_cut(text)
    if cut:
        raise TruncatedError("the answer ends in the middle", code="truncated")
    raise ProtocolError("the answer is no valid JSON", code="json")


def _is_cut(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError as error:
        return not text.strip() or str(error).startswith("unexpected end of data")
    return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


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
