"""Reads JSON: records as tables, other keys as lines with their paths, whatever its layout."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from nexus_core import Block, Code, Metadata, Place, ReadHints, Remark, component
from nexus_readers.data.values import merged, value_blocks
from nexus_readers.text.source_text import read_text

_COMMENTS = re.compile(r'("(?:[^"\\\n]|\\.)*+")|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)', re.DOTALL)
_COMMA = re.compile(r'("(?:[^"\\\n]|\\.)*+")|,(?=\s*+[\]}])', re.DOTALL)


@component
class JsonReader:
    """Reads .json; also with comments, and with one value a line."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        decoded = read_text(file, hints)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        text = decoded.text.strip()
        if not text:
            return
        try:
            value = _parsed(text)
        except (ValueError, RecursionError) as error:
            why = "it is nested too deep" if isinstance(error, RecursionError) else _reason(error)
            yield Remark(text=f"is no JSON ({why}); read as it stands")
            yield Code(text=decoded.text.strip("\n"), language="json", place=Place(line=1))
            return
        if isinstance(value, dict) and isinstance(value.get("title"), str):
            yield Metadata(title=value["title"])
        yield from value_blocks(value)


@component
class JsonLinesReader:
    """Reads files with one JSON value a line."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks of all values; lines that are no JSON come as they stand."""
        decoded = read_text(file, hints)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        values: list[Any] = []
        for number, line in enumerate(decoded.text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                values.append(_load(line))
            except (ValueError, RecursionError) as error:
                why = "it is nested too deep" if isinstance(error, RecursionError) else getattr(error, "msg", error)
                yield Remark(text=f"line {number} is no JSON ({why}); read as it stands")
                yield Code(text=line.strip(), place=Place(line=number))
        yield from value_blocks(values)


def _parsed(text: str) -> Any:
    """Return the value, numbers as they are written; raises ValueError."""
    try:
        return _load(text)
    except ValueError as error:
        lines = text.split("\n")
        if len(lines) > 1 and "Extra data" in str(error):
            return [_load(line) for line in lines if line.strip()]
        if "//" not in text and "/*" not in text and not re.search(r",\s*+[\]}]", text):
            raise
        plain = _COMMENTS.sub(lambda found: found[1] or " ", text)
        return _load(_COMMA.sub(lambda found: found[1] or "", plain))


def _load(text: str) -> Any:
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=merged, strict=False)


def _reason(error: Exception) -> str:
    place = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
    return f"{getattr(error, 'msg', error)}{place}"
