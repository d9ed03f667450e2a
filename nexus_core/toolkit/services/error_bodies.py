"""Reads the body of an error, whatever its shape: its codes, its words, its status and the wait that it tells. Pure.

Bodies differ: `error` is an object, a list or a text, stands at the top, in a choice, under `fault`, `detail` or
`base_resp`, or as JSON within a message, since gateways wrap what a service said. So a body is taken for layers of
objects, one within the other; what stands further in is more precise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from attrs import frozen

from nexus_core.toolkit.services.error_texts import embedded_json
from nexus_core.toolkit.services.error_waits import told_wait_s
from nexus_core.toolkit.text.normalization import valid_unicode


@frozen(kw_only=True)
class ErrorBody:
    """What the body of an error says."""

    codes: tuple[str, ...] = ()
    """Its codes and types, the most specific first."""
    message: str = ""
    """Its words, from the outermost to the innermost."""
    status: int | None = None
    """An HTTP status that stands in the body, as routers write it."""
    words: tuple[str, ...] = ()
    """All that may be a code, also what has blanks or is a number, in lower case."""
    retry_after_s: float | None = None
    """The wait that it tells."""
    limits: tuple[str, ...] = ()
    """Names of the limits that were reached, as Google's services list them."""


_LAYERS = (
    "error", "errors", "fault", "base_resp", "detail", "details", "response", "responsemetadata", "result", "data",
    "output", "body", "cause", "err", "failure", "innererror", "inner_error", "metadata", "header", "headers", "raw",
    "provider_error", "violations", "choices", "delta", "message", "msg", "status", "exception",
)  # fmt: skip
"""Keys under which a further object may say more, in lower case."""
_TEXTS = (
    "title", "error", "errors", "message", "msg", "error_message", "errormessage", "error_msg", "errmsg",
    "error_description", "faultstring", "status_msg", "statusmessage", "detail", "details", "raw", "provider_error",
    "description", "exception", "err", "cause", "failure",
)  # fmt: skip
_HINTS = ("reason", "hint", "info", "explanation")
"""Keys that hold a code or a sentence."""
_WORDED = frozenset((*_LAYERS, *_TEXTS, *_HINTS))
_CODES = (
    "code", "type", "reason", "error_code", "errorcode", "error_type", "errortype", "status", "status_code",
    "statuscode", "http_status", "errcode", "err_code", "__type", "error", "exception",
)  # fmt: skip
_CODED = frozenset(_CODES)
_STATUSES = ("code", "status", "status_code", "statuscode", "http_status", "error_code", "errorcode")
_LIMITS = ("quotaid", "quota_limit", "quotametric", "quota_metric")
_SAYS_NOTHING = frozenset({"", "null", "none", "ok", "success", "0", "200", "error", "fail", "failed", "failure"})
"""Codes that tell no class, in lower case."""
_ERROR_KEYS = frozenset({"error", "errors", "Error", "fault", "base_resp"})
"""Keys of a body under which an error stands."""
_GOOD = frozenset({"", "null", "none", "ok", "success", "succeeded", "0", "200", "20000"})
_ANSWERS = frozenset({"choices", "usage", "output", "content", "candidates", "results", "embeddings", "text"})
"""Keys of answers: what has one with a value is not only an error."""
_NOT_WORDS = frozenset({"input", "prompt", "messages", "content", "loc", "url", "stack", "traceback", "stacktrace"})
"""Keys whose texts are no words about an error."""
_SENTENCE = r"[^\W\d_]{2,}[^\w]+[^\W\d_]{2,}|[\u4e00-\u9fff]{4,}"
_UNDER_WAY = frozenset({"queued", "pending", "processing", "running", "in_progress", "info", "ping", "heartbeat"})
"""What a service says of a request that it works on."""
_DEEPEST = 8
_MOST_SENTENCES = 3
_MOST_LAYERS = 40
_LONGEST = 8_000
"""Characters that are kept of the words."""


def read_error_body(payload: Any, *, header: str = "") -> ErrorBody:
    """Return what an error body says, whatever its shape; never raises.

    `header` is the code that stands beside the body, as AWS and Azure send it: it counts after those within.
    """
    found = _Layers()
    found.enter(payload, 0)
    if not found.texts and _is_filtered(payload):
        return ErrorBody(codes=("content_filter",), message="the content was filtered", words=("content_filter",))
    if not found.texts:
        found.texts = list(islice(_sentences(payload, 0), _MOST_SENTENCES))
    message = ": ".join(found.texts)[:_LONGEST]
    said = [*found.said(), *([header.partition(":")[0]] if header else [])]
    return ErrorBody(
        codes=tuple(dict.fromkeys(code for value in said if (code := _code(value)))),
        message=message,
        status=found.status(message),
        words=tuple(dict.fromkeys(str(value).strip().lower() for value in said)),
        retry_after_s=told_wait_s(found.layers, message),
        limits=tuple(found.named_limits()),
    )


def holds_error(payload: Any) -> bool:
    """Tell whether a body with a good status holds an error; an error without content is none."""
    if isinstance(payload, list) and len(payload) == 1:
        payload = payload[0]
    if not isinstance(payload, dict):
        return False
    if payload.get("object") == "error" or payload.get("type") == "error":
        return True
    told = payload.keys() & _ERROR_KEYS  # nearly never any
    if told and any(_is_said(payload[key]) for key in told if key != "base_resp"):
        return True
    base = payload["base_resp"] if "base_resp" in told else None
    if isinstance(base, dict) and _is_said(base.get("status_code")):
        return True
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return False
    for part in (first, first.get("message"), first.get("delta")):
        if isinstance(part, dict) and "error" in part and _is_said(part["error"]):
            return True
    return False


def is_only_error(payload: Any) -> bool:
    """Tell whether a body without an answer is nothing but the words of an error, such as `{"message": "..."}`."""
    if not isinstance(payload, dict):
        return False
    if any(payload[name] for name in payload.keys() & _ANSWERS):
        return False
    found = _Layers()
    found.enter(payload, 0)
    if any(isinstance(word, str) and word.lower() in _UNDER_WAY for word in (*found.said(), *found.texts)):
        return False
    return bool(found.texts) or found.status("") is not None


class _Layers:
    """The objects of a body, from the outermost to the innermost, and the texts in them."""

    __slots__ = ("layers", "texts")

    def __init__(self) -> None:
        self.layers: list[Mapping[str, Any]] = []
        """Their keys are in lower case."""
        self.texts: list[str] = []

    def enter(self, value: Any, depth: int) -> None:
        if depth > _DEEPEST or len(self.layers) >= _MOST_LAYERS:
            return
        if isinstance(value, dict):
            self._enter_object({key.lower(): inner for key, inner in value.items() if isinstance(key, str)}, depth)
        elif isinstance(value, list):
            for inner in value[:_DEEPEST]:
                self.enter(inner, depth + 1)
        elif isinstance(value, str):
            self._enter_text(value, depth)

    def _enter_object(self, layer: dict[str, Any], depth: int) -> None:
        self.layers.append(layer)
        if _WORDED.isdisjoint(layer):  # nearly all that is no error
            return
        for name in _TEXTS:
            if isinstance(layer.get(name), str):
                self._enter_text(layer[name], depth)
        for name in _HINTS:
            if isinstance(layer.get(name), str) and re.search(_SENTENCE, layer[name]):
                self._enter_text(layer[name], depth)
        for name in _LAYERS:
            inner = layer.get(name)
            if isinstance(inner, dict | list):
                self.enter(inner, depth + 1)

    def _enter_text(self, text: str, depth: int) -> None:
        """Take a text, and what it says as JSON, behind the words that may stand before it."""
        before, inner = embedded_json(text) if depth < _DEEPEST else (text, None)
        texts = len(self.texts)
        self._add(before)
        if inner is not None:
            known = len(self.texts)
            self.enter(inner, depth + 1)
            if len(self.texts) == known:
                self.texts += islice(_sentences(inner, 0), _MOST_SENTENCES)
            if len(self.texts) == known and not _code_values(inner):
                del self.texts[texts:]
                self._add(text)

    def _add(self, text: str) -> None:
        text = valid_unicode(text).strip()
        if text.lower() not in _GOOD and not any(text in known for known in self.texts):
            self.texts.append(text)

    def said(self) -> Iterator[Any]:
        """Yield what stands where codes stand, the most specific first."""
        for layer in reversed(self.layers):
            for name in () if _CODED.isdisjoint(layer) else _CODES:
                value = layer.get(name)
                if type(value) in (str, int) and len(str(value)) <= _LONGEST and str(value).strip():
                    yield valid_unicode(value) if isinstance(value, str) else value

    def status(self, message: str) -> int | None:
        for layer in reversed(self.layers):
            status = None if _CODED.isdisjoint(layer) else _status([layer.get(name) for name in _STATUSES])
            if status is not None:
                return status
        told = re.search(_TOLD_STATUS, message, re.IGNORECASE) if message else None
        return int(told[1]) if told else None

    def named_limits(self) -> Iterator[str]:
        for layer in self.layers:
            for name in _LIMITS:
                if isinstance(layer.get(name), str):
                    yield layer[name]


_TOLD_STATUS = r"\b(?:error code|status code|http(?: error)?|status)\s?[:=]?\s([45]\d\d)\b"


def _is_filtered(payload: Any) -> bool:
    choices = payload.get("choices") if isinstance(payload, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and first.get("finish_reason") == "content_filter"


def _sentences(value: Any, depth: int) -> Iterator[str]:
    """Yield texts of more than a word, wherever they stand."""
    if isinstance(value, str) and re.search(_SENTENCE, value):
        yield valid_unicode(value).strip()
    elif isinstance(value, dict) and depth < _DEEPEST:
        for key, inner in value.items():
            if str(key).lower() not in _NOT_WORDS:
                yield from _sentences(inner, depth + 1)
    elif isinstance(value, list) and depth < _DEEPEST:
        for inner in value[:_DEEPEST]:
            yield from _sentences(inner, depth + 1)


def _is_said(value: Any, depth: int = 0) -> bool:
    """Tell whether an error has content: text, a code that is not 0, or something within it that has."""
    if isinstance(value, dict):
        return depth < _DEEPEST and any(_is_said(inner, depth + 1) for inner in value.values())
    if isinstance(value, list):
        return depth < _DEEPEST and any(_is_said(inner, depth + 1) for inner in value)
    return value is not None and value is not False and str(value).strip().lower() not in _GOOD


def _code_values(value: Any) -> list[Any]:
    layers = value if isinstance(value, list) else [value]
    return [layer[name] for layer in layers if isinstance(layer, dict) for name in _CODES if name in layer]


def _code(value: Any) -> str:
    if not isinstance(value, str) or value.lower() in _SAYS_NOTHING:
        return ""
    word = value.rpartition("#")[2]
    return word if re.fullmatch(r"[A-Za-z][\w.\-]{1,63}", word) else ""


def _status(values: Sequence[Any]) -> int | None:
    for value in values:
        if isinstance(value, str) and re.fullmatch(r"[1-5]\d\d", value, re.ASCII):
            value = int(value)
        if type(value) is int and 400 <= value < 600:
            return value
    return None
