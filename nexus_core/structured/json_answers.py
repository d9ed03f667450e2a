"""Reads the JSON of an answer, and repairs what can be repaired without a guess at what was meant.

A code fence, text around the one object, a trailing comma and raw control characters in texts: the value is the same
whoever reads it. What would have to be made up (a missing bracket, a quote, a key that stands twice) is no JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Never

from attrs import frozen

MOST_DEPTH = 100
"""Levels of a value; what reads JSON elsewhere often takes 128 and no more."""
_FENCE = re.compile(r"\s*```[A-Za-z0-9_-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```\s*", re.DOTALL)
_TEXT = r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)'
"""A text, also one that nothing closes: looked for at each quote, that would take the square of the length."""
_TEXT_OR_BRACKET = re.compile(rf"{_TEXT}|[{{}}\[\]]", re.DOTALL)
_TEXT_OR_COMMA = re.compile(rf"({_TEXT})|,(?=[ \t\r\n]*[}}\]])", re.DOTALL)
_BRACKET = re.compile(r"[{\[]")
_LEVELS = {"{": 1, "[": 1, "}": -1, "]": -1}


class NotJsonError(ValueError):
    """A text is no JSON and cannot be repaired; the message says why, without any of it."""


@frozen(eq=False)
class JsonAnswer:
    """The value of an answer, and its JSON as it stands in the answer, or as it was repaired."""

    value: Any
    text: str
    repaired: bool = False


def read_json_answer(text: str, *, may_repair: bool = True) -> JsonAnswer:
    """Return the value that an answer is; raises NotJsonError where it is none that could be told for sure."""
    try:
        return JsonAnswer(_parse(text), text)
    except NotJsonError as error:
        if not may_repair:
            raise
        why = str(error)
    if (fenced := _FENCE.fullmatch(text)) is not None and (found := _repaired(fenced[1])) is not None:
        return found
    return _repaired(text) or _only_object(text, why)


def _only_object(text: str, why: str) -> JsonAnswer:
    """Return the object in a text; lists beside it may be citations, and stand for the answer where they are alone."""
    found = [part for span in _spans(text) if (part := _repaired(span)) is not None]
    chosen = [part for part in found if isinstance(part.value, dict)] or found
    if len(chosen) == 1:
        return chosen[0]
    raise NotJsonError("it holds several JSON values" if chosen else why)


def _spans(text: str) -> Iterator[str]:
    """Yield the parts of a text from an outermost bracket to the one that closes it; none where one stays open.

    What stands inside of an object that was cut is not the answer.
    """
    spans, place = [], 0
    while (opening := _BRACKET.search(text, place)) is not None:
        place = _closing(text, opening.start())
        if place < 0:
            return
        spans.append(text[opening.start() : place])
    yield from spans


def _closing(text: str, opening: int) -> int:
    """Return the place after the bracket that closes the one here, or -1."""
    depth = 0
    for token in _TEXT_OR_BRACKET.finditer(text, opening):
        depth += _LEVELS.get(token[0], 0)
        if not depth:
            return token.end()
    return -1


def _repaired(text: str) -> JsonAnswer | None:
    """Return the value of a text that is JSON but for trailing commas and control characters, `None` if it is none."""
    without_commas = _TEXT_OR_COMMA.sub(lambda token: token[1] or "", text)
    for candidate, strict in ((text, True), (text, False), (without_commas, True), (without_commas, False)):
        try:
            value = _parse(candidate, strict=strict)
        except NotJsonError:
            continue
        # Whoever reads the text must find what was read here.
        return JsonAnswer(value, candidate.strip() if strict else json.dumps(value, ensure_ascii=False), repaired=True)
    return None


def _parse(text: str, *, strict: bool = True) -> Any:
    try:
        decoder = json.JSONDecoder(
            strict=strict, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_object
        )
        value = decoder.decode(text)
        if "\\u" in text:  # half of a surrogate pair can be written so, and is no text of any encoding
            json.dumps(value, ensure_ascii=False).encode()
    except NotJsonError:
        raise
    except RecursionError:
        raise NotJsonError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise NotJsonError("a text in it has half of a surrogate pair") from None
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError:  # more digits than Python reads
        raise NotJsonError("a number in it has too many digits") from None
    if _depth(value) > MOST_DEPTH:
        raise NotJsonError(f"it is nested more than {MOST_DEPTH} levels deep")
    return value


def _refuse_constant(name: str) -> Never:
    raise NotJsonError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise NotJsonError("a number in it is too large")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJsonError("a key stands twice in one object")
    return found


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [part for each in level for part in _parts(each)]:
        depth += 1
    return depth


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
