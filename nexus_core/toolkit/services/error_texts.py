"""The bytes and texts of errors: JSON that is not quite JSON, JSON within a sentence, events, web pages. Pure."""

from __future__ import annotations

import ast
import html
import json
import re
from contextlib import suppress
from typing import Any

import orjson

_NOTHING: Any = object()
_LENIENT = json.JSONDecoder(strict=False)
_BEFORE_JSON = r"[\s:,\-]*(?:\bb)?['\"]?$"
"""Marks between the words of a gateway and the JSON that it hands on."""
_COMMAS = r",\s*([}\]])"
_PAGE_WORDS = tuple(rf"(?is)<{tag}\b[^>]*>(.{{1,500}}?)</{tag}>" for tag in ("Message", "title", "h1", "h2"))
_PAGE_CODE = r"<Code>\s*([\w.\-]{1,64})\s*</Code>"
_LONGEST_LITERAL = 20_000
"""Characters of what Python printed that are read."""


def parse_error_body(data: bytes) -> Any:
    """Return what the body of an error holds: JSON, where it is some, else text, `None` where it has no words.

    Never raises. A byte order mark, NaN, a comma too many, control characters and text behind the JSON are passed over;
    the JSON may be the data of an event stream. Of a web page or XML the title or message is taken.
    """
    text = data.decode(errors="replace").strip("\ufeff \t\r\n\0")
    if text.startswith("<"):
        return _page_words(text)
    if re.match(r"(?:data|event|id|retry)?:", text):
        text = "\n".join(line[5:].strip() for line in text.splitlines() if line.startswith("data:")) or text
    found = _parse(text)
    return text if found is _NOTHING else found


def embedded_json(text: str) -> tuple[str, Any]:
    """Return the words before the JSON in a text, and its value; `None` where there is none."""
    start = min((at for mark in ("{", "[{") if (at := text.find(mark)) >= 0), default=-1)
    if start < 0:
        return text, None
    found = _parse(text[start:])
    if not isinstance(found, dict | list):
        return text, None
    return re.sub(_BEFORE_JSON, "", text[:start]), found


def _parse(text: str) -> Any:
    """Return the value at the start of a text, `_NOTHING` where it is no JSON."""
    with suppress(ValueError):
        return orjson.loads(text)
    if text[:1] not in ("{", "["):
        return _NOTHING
    for candidate in (text, re.sub(_COMMAS, r"\1", text)):
        try:
            return _LENIENT.raw_decode(candidate)[0]
        except (ValueError, RecursionError):
            continue
    return _literal(text)


def _literal(text: str) -> Any:
    """Return the object that Python printed: clients put it into the errors that gateways pass on."""
    end = text.rfind("}" if text[0] == "{" else "]") + 1
    if not end or end > _LONGEST_LITERAL:
        return _NOTHING
    try:
        return ast.literal_eval(text[:end])
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return _NOTHING


def _page_words(text: str) -> Any:
    """Return what a web page or XML says: an object with its code and message, or `None`."""
    words = next((found[1] for pattern in _PAGE_WORDS if (found := re.search(pattern, text[:_LONGEST_LITERAL]))), "")
    message = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", words)).split())
    if not message:
        return None
    code = re.search(_PAGE_CODE, text[:_LONGEST_LITERAL], re.IGNORECASE)
    return {"message": message, "code": code[1]} if code else {"message": message}
