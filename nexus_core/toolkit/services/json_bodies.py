"""JSON bodies of requests, written as services take them, and of answers, read leniently.

What passes is valid Unicode, and what is cut is told apart from what is wrong.
Besides what the standard allows: a byte order mark, `NaN` and `Infinity`, a comma before a closing bracket, and behind
the value null characters or the `data: [DONE]` of a stream.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import orjson

from nexus_core.contract.errors import InvalidRequestError, ProtocolError, TruncatedError
from nexus_core.contract.values import CallOptions
from nexus_core.toolkit.text.normalization import valid_unicode

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
        raise unsendable("an option in extra holds what is no JSON value: use texts, numbers, lists, maps") from None


def merge_extra(body: dict[str, Any], extra: Mapping[str, Any], reserved: frozenset[str]) -> dict[str, Any]:
    """Return a body with the options of one model only; raises InvalidRequestError for what the connector sets."""
    if extra:
        for name in reserved.intersection(extra):
            raise unsendable(f"the option {name!r} in extra is the connector's own: remove it")
        body.update(extra)
    return body


def join_neighbours(messages: Iterable[dict[str, Any]], parts: str) -> list[dict[str, Any]]:
    """Return messages with a `role` and a list under `parts`, neighbours of one role joined, without those of no part.

    For services whose roles must alternate, and that want all results of tools in one message.
    """
    joined: list[dict[str, Any]] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {**joined[-1], parts: [*joined[-1][parts], *message[parts]]}
        elif message[parts]:
            joined.append(message)
    return joined


def read_text(value: Any) -> str:
    """Return a text of a service's answer, empty for what is none."""
    return value if isinstance(value, str) else ""


def object_within(value: Any, *names: str) -> dict[str, Any]:
    """Return the object at a path of an answer, empty for none; raises ProtocolError where another value stands."""
    found: Any = value
    for name in ("", *names):
        found = found.get(name) if name else found
        if found is None:
            break
        if not isinstance(found, dict):
            raise ProtocolError("the answer is not as promised", code="shape")
    return found or {}


def options_by_name(
    options: CallOptions, names: Mapping[str, str], left_out: Collection[str] = (), *, one_sampler: bool = False
) -> dict[str, Any]:
    """Return the options that are set, under a service's names for them (`names`, by ours), but for some.

    With `one_sampler` a top_p beside a temperature is left out, since Claude refuses both from 4.1 on.
    """
    if one_sampler and options.temperature is not None:
        left_out = {*left_out, "top_p"}
    return {
        said: value
        for name, said in names.items()
        if name not in left_out and (value := getattr(options, name)) is not None
    }


def forces_tool(options: CallOptions) -> bool:
    """Tell whether the model must call a tool, by which some services let it not think."""
    return bool(options.tools) and options.tool_choice not in (None, "auto", "none")


def read_arguments(arguments: str) -> dict[str, Any]:
    """Return the arguments of a tool call, for services that want them as an object; raises InvalidRequestError."""
    try:
        value = orjson.loads(arguments) if arguments.strip() else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise unsendable("the arguments of a tool call in the conversation are no JSON object")
    return value


def unsendable(message: str) -> InvalidRequestError:
    """Return the error for what a service would not take, so that nothing was sent."""
    return InvalidRequestError(message, code="unsendable", request_sent=False)
