"""The parts of an RTF file: groups, control words, characters in the encodings of their fonts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

from attrs import frozen

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?[0-9]{1,10})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|([^\\{}\r\n]{1,65536})|[\r\n]+", re.DOTALL
)
_CHARSETS = {
    77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gbk", 136: "cp950", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250", 254: "cp437", 255: "cp850",
}  # fmt: skip
"""Encodings by the numbers that font tables have for them."""


@frozen
class RtfToken:
    """One part of a file."""

    kind: Literal["open", "close", "word", "byte", "text"]
    word: str = ""
    number: int | None = None
    data: bytes = b""


_OPEN, _CLOSE = RtfToken("open"), RtfToken("close")


def rtf_tokens(data: bytes) -> Iterator[RtfToken]:
    """Yield the parts of a file; binary data in it is passed over."""
    at = 0
    while at < len(data):
        match = _TOKEN.match(data, at)
        if match is None:  # a lone backslash at the end
            return
        at = match.end()
        word, number, byte, sign, brace, text = match.groups()
        if word is not None:
            name = word.decode("ascii")
            if name == "bin" and number is not None:
                at += max(0, int(number))
            else:
                yield RtfToken("word", name, int(number) if number is not None else None)
        elif byte is not None:
            yield RtfToken("byte", data=bytes([int(byte, 16)]))
        elif brace is not None:
            yield _OPEN if brace == b"{" else _CLOSE
        elif text is not None:
            yield RtfToken("text", data=text)
        elif sign is not None:
            # A line that ends with a backslash ends a paragraph; `\-` is where a word may be broken.
            name = sign.decode("latin-1")
            yield RtfToken("word", "par" if name in "\r\n" else name)


def encoding_of_charset(number: int) -> str:
    """Return the encoding of a font by the number of its character set; empty where it tells none."""
    return _CHARSETS.get(number, "")


def decoded(data: bytes, encoding: str) -> str:
    """Return bytes as text; what is not in the encoding is replaced."""
    return data.decode(encoding if _is_known(encoding) else "cp1252", "replace")


@lru_cache(maxsize=64)
def _is_known(encoding: str) -> bool:
    try:
        "".encode(encoding)
    except (LookupError, UnicodeError):
        return False
    return True
