"""Reads JSON bodies with care, bounded in size, time and depth, with no name twice and no NaN; and writes JSON."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson
from aiohttp import ClientPayloadError, HttpVersion11, web

from nexus_core.server.errors import Failure
from nexus_core.server.http.json_schema import checker
from nexus_core.server.settings import ServerLimits
from nexus_core.toolkit.suggest import did_you_mean


def refuse_unknown(request: web.Request, known: Collection[str]) -> None:
    """Raise Failure for a parameter in the query string that the route does not read."""
    for name in request.query:
        if name not in known:
            suggestion = did_you_mean(name, known)
            raise Failure(400, "invalid_request", f"there is no parameter {name[:80]!r} here{suggestion}")


class Parameters:
    """What the query string of a route may hold."""

    def __init__(self, properties: Mapping[str, Mapping[str, Any]]) -> None:
        self.properties = properties
        self._checks = {name: checker(schema) for name, schema in properties.items()}

    def read(self, request: web.Request) -> dict[str, Any]:
        """Return what a query string says, by name; raises Failure for what it must not say. Its names are known."""
        found: dict[str, Any] = {}
        for name in request.query:
            schema = self.properties[name]
            values = request.query.getall(name)
            if schema["type"] != "array" and len(values) > 1:
                raise Failure(400, "invalid_request", f"the parameter {name!r} stands twice in the address")
            value = values if schema["type"] == "array" else _value(name, values[0], schema)
            try:
                found[name] = self._checks[name](value)
            except Failure as error:
                said = error.message.replace("the body", "it").replace("data", "it")
                raise Failure(400, "invalid_request", f"the parameter {name!r}: {said}") from error
        return found


def _value(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    if schema["type"] != "integer":
        return text
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Failure(400, "invalid_request", f"the parameter {name!r} is no whole number")
    return int(text)


DEPTH = 32
"""How deep lists and objects may stand in each other."""
BRACKETS = 20_000
"""How many lists and objects there may be: more would hold up everybody while they are read."""


async def read_json(request: web.Request, limits: ServerLimits) -> dict[str, Any]:
    """Return the object in a request's body; raises Failure."""
    return parse(await read_json_bytes(request, limits))


async def read_json_bytes(request: web.Request, limits: ServerLimits) -> bytes:
    """Return a request's body, which says that it is JSON; raises Failure."""
    check_is_json(request)
    return await read_bytes(request, limits.body_bytes, limits.body_s)


def check_is_json(request: web.Request) -> None:
    """Raise Failure where the head of a request does not say that its body is plain JSON."""
    if request.content_type != "application/json" and not request.content_type.endswith("+json"):
        raise Failure(415, "unsupported_media_type", "send JSON, with the header Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Failure(415, "unsupported_encoding", "send the body as it is, without Content-Encoding")


async def read_bytes(request: web.Request, cap: int, seconds: float) -> bytes:
    """Return a request's body; raises Failure where it is too long or comes too slowly."""
    pieces: list[bytes] = []
    await copy_body(request, cap, seconds, pieces.append)
    return b"".join(pieces)


async def copy_body(request: web.Request, cap: int, seconds: float, write: Callable[[bytes], object]) -> None:
    """Write a request's body piece by piece; raises Failure where it is too long or comes too slowly."""
    if (request.content_length or 0) > cap:
        raise _too_large(cap)
    content = request.content
    size = 0
    try:
        if content.is_eof():  # the usual case: it came with the head
            write(_within(cap, content.read_nowait(-1)))
            return
        await invite(request)
        async with asyncio.timeout(seconds):
            async for piece in content.iter_any():
                size += len(piece)
                if size > cap:
                    raise _too_large(cap)
                write(piece)
    except TimeoutError as error:
        raise Failure(408, "body_timeout", f"the body did not come within {seconds:g} s") from error
    except web.HTTPException:
        raise
    except (ClientPayloadError, web.RequestPayloadError, ValueError) as error:
        raise Failure(400, "invalid_body", "the body is not what its headers say") from error


async def invite(request: web.Request) -> None:
    """Tell a client that waits to be told that it may send its body."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun


def json_answer(data: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an answer whose body is JSON."""
    return web.Response(body=orjson.dumps(data), status=status, headers=headers, content_type="application/json")


def parse(data: bytes) -> dict[str, Any]:
    """Return the object that some bytes are; raises Failure for whatever else they are."""
    try:
        text = data.decode("utf-8")
        _check_brackets(data)
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


def _check_brackets(data: bytes) -> None:
    """Raise Failure where the lists and objects of JSON are too many, or stand too deep in each other.

    Takes the texts away, then the innermost pairs of brackets, level by level: each is one pass in C.
    """
    if data.count(b"[") + data.count(b"{") <= DEPTH:
        return
    without_escapes = data.replace(rb"\\", b"").replace(rb"\"", b"")
    left = _TEXT.sub(b"", without_escapes).translate(_TO_SQUARE, _NO_BRACKETS)
    if left.count(b"[") > BRACKETS:
        raise Failure(400, "invalid_json", f"the JSON holds more than {BRACKETS:,} lists and objects")
    for _ in range(DEPTH):
        left = left.replace(b"[]", b"")
    if left:
        raise Failure(400, "invalid_json", f"the JSON is nested deeper than {DEPTH}")


_TEXT = re.compile(rb'"[^"]*"')
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(each for each in range(256) if each not in b"[]{}")


def _within(cap: int, data: bytes) -> bytes:
    if len(data) > cap:
        raise _too_large(cap)
    return data


def _too_large(cap: int) -> Failure:
    return Failure(413, "body_too_large", f"the body is over {cap:,} bytes")
