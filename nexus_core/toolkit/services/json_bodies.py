"""JSON of services, read leniently: what passes is valid Unicode, and what is cut is told apart from what is wrong."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson

from nexus_core.contract.errors import ProtocolError, TruncatedError


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
