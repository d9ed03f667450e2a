"""From bytes to text: by the mark at the start, what the file declares, the option, a careful guess; never silently."""

from __future__ import annotations

import codecs
import re

from attrs import frozen

from nexus_core.contract.errors import SourceError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MAGIC = (
    (b"%PDF-", "a PDF under another name: rename it to .pdf"),
    (b"PK\x03\x04", "a zip or office file: save it as Markdown, HTML, text or PDF"),
    (b"\xd0\xcf\x11\xe0", "an old office file: save it as Markdown, HTML, text or PDF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "an SQLite database"),
)
_DECLARED = re.compile(
    rb"""<meta[^>]{1,200}charset\s*=\s*["']?([\w-]{1,40})
    | <\?xml[^>]{1,100}encoding\s*=\s*["']([\w-]{1,40})
    | \A(?:[^\n]{0,200}\n)?[ \t\f]*\#[^\n]{0,100}coding[:=][ \t]*([\w.-]{1,40})""",
    re.IGNORECASE | re.VERBOSE,
)
"""By a page, by XML, by a program in its first two lines."""
_LOOKED_AT = 8192
"""Bytes by which it is told whether a file is text."""
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r\f\v\b\x1b")
_MOST_ACCENTS = 0.2
"""A Western text has accents on a few of its letters; a text read in the wrong encoding is full of them."""


_PLAIN = dict.fromkeys([*range(128), 0xFFFD])


class NotReadError(SourceError):
    """A file that is rightly left out: it is no text, or what reads it is not installed."""


@frozen(repr=False)
class Decoded:
    """A text, and what was doubtful about it."""

    text: str
    problem: str = ""


def decode(data: bytes, encoding: str) -> Decoded:
    """Return the text of a file, its lines ended by `\\n`; raises SourceError with the reason where it is no text."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _in_one_of((name,), data[len(mark) :])
    own = codecs.lookup(encoding).name
    if not own.startswith(("utf-16", "utf-32")):
        _refuse_binary(data)
    declared = _DECLARED.search(data[:2048])
    named = next(filter(None, declared.groups()), b"").decode() if declared else ""
    if not named or not _known(named):
        return _in_one_of((encoding,), data)
    # What is UTF-8 throughout is UTF-8, whatever is said of it; a declaration may be an example in a text about HTML.
    return _in_one_of((encoding, named) if own == "utf-8" else (named, encoding), data)


def _in_one_of(encodings: tuple[str, ...], data: bytes) -> Decoded:
    errors = []
    for encoding in encodings:
        try:
            return Decoded(_lines(data.decode(encoding)))
        except UnicodeDecodeError as error:
            errors.append(error)
    return _guessed(data, encodings[0], errors[0])


def _guessed(data: bytes, encoding: str, error: UnicodeDecodeError) -> Decoded:
    """Read what is not in the encoding as the same with faults, or as Western European, if it looks like either."""
    said = f"is not {encoding} (byte 0x{data[error.start]:02x} in line {data.count(10, 0, error.start) + 1})"
    text = data.decode(encoding, "replace")
    faults = text.count("\ufffd")
    if faults <= 0.25 * _accents(text):
        return Decoded(_lines(text), f"{said}; read with \ufffd in its place, {faults} times")
    advice = "name its encoding (`encoding:`, or --encoding on the command line), or convert it"
    try:
        text = data.decode("windows-1252")
    except UnicodeDecodeError:
        text = ""
    if not text or _accents(text) > _MOST_ACCENTS * sum(map(str.isalpha, text)) + 1:
        raise SourceError(f"{said}, nor windows-1252; left out: {advice}")
    return Decoded(_lines(text), f"{said}; read as windows-1252: {advice} if that is wrong")


def _accents(text: str) -> int:
    return len(text.translate(_PLAIN))


def _known(encoding: str) -> bool:
    try:
        "".encode(encoding)
    except (LookupError, UnicodeError):  # not known, or no encoding of text
        return False
    return True


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _refuse_binary(data: bytes) -> None:
    for magic, what in _MAGIC:
        if data.startswith(magic):
            raise NotReadError(f"is binary, {what}; left out")
    head = data[:_LOOKED_AT]
    if b"\0" in head:
        raise NotReadError(
            "is binary; left out (if it is UTF-16: say `encoding: utf-16`, or --encoding utf-16 on the command line)"
        )
    control = len(head) - len(head.translate(None, _CONTROL))
    if control > len(head) * 0.02:
        raise NotReadError("is binary; left out")
