"""Reads JSON bodies with care, bounded in size, time and depth, with no name twice and no NaN; and writes JSON."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import ClientPayloadError, web

from nexus_core.server.errors import Failure
from nexus_core.server.settings import Limits

DEPTH = 32
"""How deep lists and objects may stand in each other."""
LISTS = 50_000
"""How many lists and objects there may be: to make more of them keeps all others waiting for too long."""


async def read_json(request: web.Request, limits: Limits) -> dict[str, Any]:
    """Return the object in a request's body; raises Failure."""
    if request.content_type != "application/json" and not request.content_type.endswith("+json"):
        raise Failure(415, "unsupported_media_type", "send JSON, with the header Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Failure(415, "unsupported_encoding", "send the body as it is, without Content-Encoding")
    data = await read_bytes(request, limits.body_bytes, limits.body_s)
    return parse(data)


async def read_bytes(request: web.Request, cap: int, seconds: float) -> bytes:
    """Return a request's body; raises Failure where it is too long or comes too slowly."""
    if (request.content_length or 0) > cap:
        raise _too_large(cap)
    content = request.content
    pieces, size = [], 0
    try:
        if content.is_eof():  # the usual case: it came with the head
            return _within(cap, content.read_nowait(-1))
        async with asyncio.timeout(seconds):
            async for piece in content.iter_any():
                size += len(piece)
                if size > cap:
                    raise _too_large(cap)
                pieces.append(piece)
    except TimeoutError as error:
        raise Failure(408, "body_timeout", f"the body did not come within {seconds:g} s") from error
    except web.HTTPException:
        raise
    except (ClientPayloadError, web.RequestPayloadError, ValueError) as error:
        raise Failure(400, "invalid_body", "the body is not what its headers say") from error
    return b"".join(pieces)


def json_answer(data: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an answer whose body is JSON."""
    return web.Response(body=orjson.dumps(data), status=status, headers=headers, content_type="application/json")


def parse(data: bytes) -> dict[str, Any]:
    """Return the object that some bytes are; raises Failure for whatever else they are."""
    try:
        text = data.decode("utf-8")
        _check_shape(data)
        orjson.loads(data)  # refuses what nobody could write again: halves of characters, endless numbers
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, json.JSONDecodeError | _RefusedError) else "it cannot be read"
        raise Failure(400, "invalid_json", f"the body is no JSON: {said}") from error
    if not isinstance(value, dict):
        raise Failure(400, "invalid_json", "the body is no JSON object")
    return value


class _RefusedError(ValueError):
    """JSON that some read in one way and others in another."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RefusedError("a name stands twice in an object")
    return found


def _no_constant(name: str) -> Any:
    raise _RefusedError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_no_constant)


_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""Also one that is not closed: where that did not match, each quote in it would be tried again."""
_NO_BRACKETS = bytes({*range(256)} - {*b"[]{}"})


def _check_shape(data: bytes) -> None:
    """Raise Failure for JSON that is too deep or of too many parts, before it is read; what is no JSON may pass."""
    if data.count(b"[") + data.count(b"{") <= DEPTH:
        return
    left = _TEXT.sub(b"", data).translate(None, _NO_BRACKETS)
    if len(left) > 2 * LISTS:
        raise Failure(400, "invalid_json", f"the JSON has more than {LISTS:,} lists and objects")
    for _ in range(DEPTH):  # each time the innermost go
        left = left.replace(b"[]", b"").replace(b"{}", b"")
    if left:
        raise Failure(400, "invalid_json", f"the JSON is nested deeper than {DEPTH}, or not closed")


def _within(cap: int, data: bytes) -> bytes:
    if len(data) > cap:
        raise _too_large(cap)
    return data


def _too_large(cap: int) -> Failure:
    return Failure(413, "body_too_large", f"the body is over {cap:,} bytes")
