"""Response fields: what may stand in the responses of a recording, so that one that is edited wrongly is told exactly.

What a connector has returned is not judged here: any number is a count, as it was when the answer was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from attrs import frozen

from nexus_core.contract.values import FinishReason
from nexus_core.toolkit.suggest import did_you_mean, listed

_LONGEST = 60
"""Characters of a value that are shown."""


class ResponseFieldError(ValueError):
    """Something in a response is not what may stand there; the message names its place."""


@frozen(eq=False)
class _ScalarShape:
    """A value, and what it has to be."""

    is_valid: Callable[[Any], bool]
    words: str

    def check(self, value: Any, place: str) -> None:
        """Raise ResponseFieldError where the value is another one."""
        if not self.is_valid(value):
            raise _wrong(value, place, self.words)


@frozen(eq=False)
class _ListShape:
    """A list whose parts are alike."""

    part: _ScalarShape | _ListShape | _ObjectShape

    def check(self, value: Any, place: str) -> None:
        """Raise ResponseFieldError where it is no list, or one of its parts is wrong."""
        if not isinstance(value, list):
            raise _wrong(value, place, "a list")
        for number, part in enumerate(value):
            self.part.check(part, f"{place}[{number}]")


@frozen(eq=False)
class _ObjectShape:
    """An object with these keys; what is required is what nothing can be made without."""

    fields: Mapping[str, _ScalarShape | _ListShape | _ObjectShape]
    required: tuple[str, ...] = ()
    or_text: bool = False
    """A text may stand in its place."""

    def check(self, value: Any, place: str) -> None:
        """Raise ResponseFieldError for a key that is not known or missing, and for a value that is wrong."""
        if self.or_text and isinstance(value, str):
            return
        if not isinstance(value, dict):
            raise _wrong(value, place, "a text or an object" if self.or_text else "an object")
        for name, part in value.items():
            here = f"{place}.{name}" if place else name
            if name not in self.fields:
                raise ResponseFieldError(f"the key `{here}` is not known{did_you_mean(name, self.fields)}")
            self.fields[name].check(part, here)
        for name in self.required:
            if name not in value:
                raise ResponseFieldError(f"the key `{place}.{name}` is missing")


def check_response(response: Mapping[str, Any], classes: Mapping[str, type]) -> None:
    """Raise ResponseFieldError where a response holds what cannot be read; `classes` are those of errors."""
    error = _ObjectShape({**_ERROR, "class": _one_of(classes)}, ("class", "message"))
    _ObjectShape({**_RESPONSE, "error": error}).check(response, "")


def _one_of(words: Mapping[str, Any] | tuple[str, ...]) -> _ScalarShape:
    return _ScalarShape(lambda value: isinstance(value, str) and value in words, f"one of {listed(sorted(words))}")


def _wrong(value: Any, place: str, words: str) -> ResponseFieldError:
    shown = repr(value)
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    return ResponseFieldError(f"`{place}` is {shown}, and must be {words}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_lines(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TEXT = _ScalarShape(_is_text, "a text")
_LINES = _ScalarShape(_is_lines, "a text or a list of texts")
_NUMBER = _ScalarShape(_is_number, "a number")
_WHOLE = _ScalarShape(_is_whole, "a whole number")
_BOOL = _ScalarShape(lambda value: isinstance(value, bool), "true or false")
_COUNT = _ScalarShape(lambda value: value is None or _is_number(value), "a number or null")
_STATUS = _ScalarShape(lambda value: value is None or _is_whole(value), "a whole number or null")

_CALL = {"id": _TEXT, "name": _TEXT, "arguments": _TEXT}
_ANSWER: Mapping[str, Any] = {
    "text": _TEXT,
    "reasoning": _TEXT,
    "model": _TEXT,
    "finish_reason": _one_of(get_args(FinishReason)),
    "native_finish_reason": _TEXT,
    "status": _STATUS,
    "usage": _ObjectShape(
        dict.fromkeys(("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens"), _COUNT)
        | {"source": _one_of(("provider", "estimated", "mixed")), "tier": _TEXT}
    ),
}
_RESPONSE: Mapping[str, Any] = {
    **_ANSWER,
    "method": _TEXT,
    "text": _LINES,
    "reasoning": _LINES,
    "tool_calls": _ListShape(_ObjectShape(_CALL, ("id", "name", "arguments"))),
    "chunks": _ListShape(
        _ObjectShape(
            {**_ANSWER, "tool_calls": _ListShape(_ObjectShape({**_CALL, "index": _WHOLE}, ("index",)))}, or_text=True
        )
    ),
    "vectors": _ListShape(_ListShape(_NUMBER)),
    "scores": _ListShape(_NUMBER),
    "abandoned": _BOOL,
}
_ERROR: Mapping[str, Any] = {
    "kind": _TEXT,
    "message": _LINES,
    "provider": _TEXT,
    "model": _TEXT,
    "status": _WHOLE,
    "code": _TEXT,
    "retry_after_s": _NUMBER,
    "should_retry": _BOOL,
    "request_sent": _BOOL,
}
