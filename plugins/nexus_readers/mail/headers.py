"""Headers of mails as text: encoded words, raw bytes, dates; and texts by the name that a mail gives their charset."""

from __future__ import annotations

import codecs
import re
from binascii import Error as BinasciiError, a2b_base64, a2b_qp
from collections.abc import Iterator, Mapping
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

_WORD = re.compile(r"=\?([\w.:-]{1,40})(?:\*[\w-]{1,20})?\?([bBqQ])\?([^?\n]*)\?=")
_WIDER = {
    "iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949",
    "shift_jis": "cp932", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874", "big5": "big5hkscs",
}  # fmt: skip
"""What senders mean by a name, as browsers have it: the wider charset that holds all of the one they name."""
_OTHER_NAMES = {"ks_c_5601-1987": "cp949", "x-sjis": "cp932", "x-gbk": "gb18030", "unicode-1-1-utf-7": "utf-7"}
_NO_CHARSETS = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined"})
"""Codecs of Python that no mail means; some of them take the square of the time."""
LONGEST = 2_000
"""Characters of a header in texts and values: a list of thousands of addresses is no content."""


def text_of(data: bytes, charset: str) -> str:
    """Return bytes as text by the name of their charset; where that is missing or wrong, by what they look like."""
    codec = _codec(charset)
    for each in (codec, "utf-8", "cp1252"):
        try:
            if each:
                return data.decode(each)
        except UnicodeError:  # as it is with most that are only nearly so: try the next
            continue
    return data.decode(codec or "utf-8", "replace")


def _codec(charset: str) -> str:
    name = charset.strip("\"' ").lower()
    try:
        found = codecs.lookup(_OTHER_NAMES.get(name, name)).name
        b"".decode(found)
    except (LookupError, UnicodeError, ValueError):
        return ""
    return "" if found.replace("_", "-") in _NO_CHARSETS else _WIDER.get(found, found)


def header_text(message: Message, name: str) -> str:
    """Return a header as people read it, on one line; empty where there is none."""
    value = message.get(name)
    return decode_words(str(value)) if value is not None else ""


def decode_words(value: str) -> str:
    """Return a header's value decoded, its white space collapsed."""
    if not value.isascii():
        value = text_of(value.encode("utf-8", "surrogateescape"), "")
    pieces, last, held, charset = list[str](), 0, b"", ""
    for found in _WORD.finditer(value):
        between = value[last : found.start()]
        data = _word_bytes(found[2], found[3])
        if held and not between.strip() and found[1].lower() == charset:
            held += data  # a character may be cut between two words
        else:
            pieces.append(text_of(held, charset))
            # White space between encoded words is no text.
            pieces.append("" if held and not between.strip() else between)
            held, charset = data, found[1].lower()
        last = found.end()
    return " ".join("".join([*pieces, text_of(held, charset), value[last:]]).split())


def _word_bytes(coding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if coding in "qQ":
        return a2b_qp(raw.replace(b" ", b"_"), header=True)
    try:
        return a2b_base64(raw + b"==")
    except BinasciiError:
        return raw


def iso_date(text: str) -> str:
    """Return the date of a header in ISO 8601; empty where it is none."""
    try:
        return parsedate_to_datetime(text).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def told_values(message: Message) -> Mapping[str, Any]:
    """Return what each item of a mail tells beside its text."""
    values = {
        "from": header_text(message, "from"),
        "to": header_text(message, "to"),
        "cc": header_text(message, "cc"),
        "date": iso_date(header_text(message, "date")),
        "message-id": header_text(message, "message-id").strip("<>"),
    }
    return {name: value[:LONGEST] for name, value in values.items() if value}


def head_lines(message: Message) -> Iterator[str]:
    """Yield what people see above a mail, beside its subject: `From: ...`."""
    for name in ("From", "To", "Cc", "Date"):
        text = header_text(message, name)
        if text:
            yield f"{name}: {text}" if len(text) <= LONGEST else f"{name}: {text[:LONGEST]}…"
