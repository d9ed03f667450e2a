"""From bytes to text: by the mark at the start, what the file declares, the option, a careful guess; never silently."""

from __future__ import annotations

import codecs
import re
import unicodedata
from contextlib import suppress
from functools import lru_cache
from importlib import import_module

from attrs import frozen

from nexus_core.contract.errors import SourceError
from nexus_core.toolkit.documents.charset_guess import guess, python_name

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MAGIC = (
    (b"%PDF-", "a PDF under another name: rename it to .pdf"),
    (b"PK\x03\x04", "a zip or office file under another name: rename it to .docx, .xlsx, .pptx, .odt, .epub or .zip"),
    (b"\xd0\xcf\x11\xe0", "an old office file under another name: rename it to .doc or .xls"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"!<arch>\n", "an archive, such as a Debian package: unpack it"),
    (b"\xed\xab\xee\xdb", "an RPM package: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "an SQLite database"),
)
_DECLARED = re.compile(
    rb"""<meta[^>]{1,200}charset\s*=\s*["']?([\w:-]{1,40})
    | <\?xml[^>]{1,100}encoding\s*=\s*["']([\w:-]{1,40})
    | \A(?:[^\n]{0,200}\n)?[ \t\f]*\#[^\n]{0,100}coding[:=][ \t]*([\w.-]{1,40})
    | \A[ \t]*@charset[ \t]+"([\w:-]{1,40})"
    | ^[ \t]*%+[ \t]*!?[ \t]*tex[ \t]+encoding[ \t]*=[ \t]*([\w-]{1,40})
    | ^[ \t]*\\usepackage\[([\w-]{1,40})\]\{inputenc\}""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
"""By a page, by XML, by a program in its first two lines, by CSS, by LaTeX."""
_LOOKED_AT = 8192
"""Bytes by which it is told whether a file is text."""
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r\f\v\b\x1b\x1a")
_WIDE = ("utf-16", "utf-32")
_PLAIN = dict.fromkeys(range(128))
_SUPERSETS = {
    "gbk": "gb18030", "gb2312": "gb18030", "shift_jis": "cp932", "euc-kr": "cp949", "big5": "big5hkscs",
    "latin1": "windows-1252", "ansinew": "windows-1252", "applemac": "mac-roman", "utf8x": "utf-8",
}  # fmt: skip
"""What Python calls the encodings that the WHATWG means by these labels, and the names that LaTeX has for some."""
_QUOTES = frozenset(b"\x80\x85\x91\x92\x93\x94\x95\x96\x97\x99\xa0\xab\xbb")
"""Punctuation of windows-1252, which is pasted into text of any encoding."""
_HIGH = bytes(range(128, 256))
_MOST_HIGH = 0.03
"""The share of letters with accents in a Western text that has few of them."""
_NO_CHARSETS = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined"})
"""Codecs of Python that nobody means who names a charset; the first takes the square of the time."""
_SAMPLE = 2_000
_FEWEST_LETTERS = 8
"""That so many characters of a text have in any language, and pixels of a plain picture need not have."""
_HIGH_WORD = re.compile(rb"[\x80-\xff]{3}")
_ADVICE = "name its encoding (`encoding:`, or --encoding on the command line), or convert it"
_ESCAPED = re.compile("[\udc80-\udcff]")
"""What Python's `surrogateescape` makes of bytes that are no character."""


class NotReadError(SourceError):
    """A file that is rightly left out: it is no text, or what reads it is not installed."""


@frozen(repr=False)
class Decoded:
    """A text, and what was doubtful about it."""

    text: str
    problem: str = ""


def decode(data: bytes, default_encoding: str, declared: str = "") -> Decoded:
    """Return the text of a file, its lines ended by `\\n`; raises SourceError with the reason where it is no text.

    Its encoding is told by a mark at its start, by whoever hands it on (`declared`, such as a server's charset), by
    itself, or by the option (`default_encoding`), and else guessed. Labels mean what they mean to browsers.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _in_one_of((name,), data[len(mark) :])
    own = codecs.lookup(default_encoding).name
    if not own.startswith(_WIDE):
        _refuse_known(data)
        if wide := _wide(data[:_LOOKED_AT]):
            return Decoded(_clean(data.decode(wide, "replace")), f"has no byte order mark; read as {wide.upper()}")
        if b"\x1b$)C" in data[:_LOOKED_AT]:  # Korean in seven bits
            return _in_one_of(("iso2022_kr",), data)
        _refuse_binary(data)
    if own == "utf-8" and b"\x1b" not in data:
        with suppress(UnicodeDecodeError):  # then it matters what it says of itself
            return _decoded(data.decode(), data)
    named = tuple(filter(None, (encoding_of(label) for label in (declared, _label(data)) if label)))
    # Japanese in seven bits, which is ASCII and so UTF-8 to whoever does not look.
    if b"\x1b$" in data and _high(data) <= 0.1 * len(data):
        named = (*named, "iso2022_jp")
    # What is UTF-8 throughout is UTF-8, whatever is said of it; a declaration may be an example in a text about HTML.
    first = own == "utf-8" and not any(name.startswith("iso2022") for name in named)
    order = (default_encoding, *named) if first else (*named, default_encoding)
    return _in_one_of(tuple(dict.fromkeys(order)), data)


def encoding_of(label: str) -> str:
    """Return the Python encoding that the WHATWG means by a label (`gb2312` is GBK); empty for one that nobody knows.

    Encodings of two bytes a character are left out: what declares itself in ASCII is not in one of them.
    """
    label = label.strip().lower()
    known = import_module("webencodings").lookup(label)  # only files that declare something pay for it
    name = _SUPERSETS.get(known.name if known else label) or (known.codec_info.name if known else label)
    return name if is_charset(name) and not name.startswith(_WIDE) else ""


def _label(data: bytes) -> str:
    found = _DECLARED.search(data[:2048])
    return next(filter(None, found.groups()), b"").decode() if found else ""


def is_charset(name: str) -> bool:
    """Tell whether Python has an encoding of texts by a name, which takes no more time than a text has letters."""
    try:
        "".encode(name)
        return codecs.lookup(name).name.replace("_", "-") not in _NO_CHARSETS
    except (LookupError, ValueError):  # not known, or no encoding of text
        return False


def _wide(head: bytes) -> str:
    """Return which UTF-16 or UTF-32 a file without a mark is in, by where its zero bytes stand; empty if in none."""
    if b"\0" not in head or _is_plain(head):
        return ""
    quarters = [head[first::4].count(0) for first in range(4)]
    for name, high, next_high in (("utf-32-le", 3, 2), ("utf-32-be", 0, 1)):
        if len(head) // 4 == quarters[high] > 1 and quarters[next_high] > 0.9 * quarters[high] > min(quarters):
            return name if _reads_well(head[: len(head) & ~3].decode(name, "replace")) else ""
    head = head[: len(head) & ~1]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if min(even, odd) > 0.02 * max(even, odd) or not head:
        return ""
    name = "utf-16-le" if odd > even else "utf-16-be"
    return name if _reads_well(head.decode(name, "replace")) else ""


def _is_plain(head: bytes) -> bool:
    """Tell whether a few zero bytes stand in what is text without them: Latin letters have one each in UTF-16."""
    if head.count(0) * 5 > len(head):
        return False
    text = head.replace(b"\0", b"").decode("utf-8", "replace")
    strange = sum(character == "\ufffd" or (character < " " and not character.isspace()) for character in text)
    return strange <= 0.01 * len(text) + 1


def _reads_well(text: str) -> bool:
    """Tell whether characters are those of a text."""
    strange = sum(unicodedata.category(character) in ("Cn", "Co", "Cs", "Cc") for character in text if character > "\r")
    words = sum(character.isalnum() for character in text)
    return len(text) > 1 and strange <= 0.01 * len(text) and words >= 0.3 * len(text)


def _in_one_of(encodings: tuple[str, ...], data: bytes) -> Decoded:
    errors = []
    for encoding in encodings:
        try:
            return _decoded(data.decode(encoding), data)
        except UnicodeDecodeError as error:
            errors.append((encoding, error))
    if "windows-1252" in encodings or "cp1252" in encodings:
        # The standard maps every byte of it, Python five of them to nothing.
        return _decoded(_western(data.decode("windows-1252", "surrogateescape")), data)
    return _guessed(data, *errors[0])


def _western(text: str) -> str:
    """Return a text with the bytes that are no character of it as windows-1252 has them."""
    return _ESCAPED.sub(lambda found: _western_character(ord(found[0]) - 0xDC00), text)


@lru_cache(maxsize=128)
def _western_character(byte: int) -> str:
    try:
        return bytes([byte]).decode("windows-1252")
    except UnicodeDecodeError:
        return chr(byte)


def _decoded(text: str, data: bytes) -> Decoded:
    zeros = text.rstrip("\0").count("\0") if b"\0" in data else 0
    return Decoded(_clean(text), f"holds zero bytes ({zeros:,}), read as spaces" if zeros else "")


def _guessed(data: bytes, encoding: str, error: UnicodeDecodeError) -> Decoded:
    """Read what is not in the encoding as the same with bytes of windows-1252 between, or as what it looks like."""
    said = f"is not {encoding} (byte 0x{data[error.start]:02x} in line {data.count(10, 0, error.start) + 1})"
    if encoding.startswith(_WIDE):
        text = data.decode(encoding, "replace")
        if text.count("\ufffd") > 0.02 * len(text) + 1:
            raise SourceError(f"{said}; left out: {_ADVICE}")
        return Decoded(_clean(text), f"{said}; read with a replacement character there")
    if encoding.startswith("iso2022"):  # whose decoders of two bytes know no other way of going on
        text = data.decode(encoding, "replace")
        return Decoded(_clean(text), f"{said}; read with a replacement character there")
    text = data.decode(encoding, "surrogateescape")
    faults = _ESCAPED.findall(text)
    accents = len(text.translate(_PLAIN)) - len(faults)
    if len(faults) <= 0.25 * accents or (accents and all(ord(fault) - 0xDC00 in _QUOTES for fault in faults)):
        times = f"{len(faults):,} times" if len(faults) > 1 else "once"
        return Decoded(_clean(_western(text)), f"{said}; read as windows-1252 there, {times}")
    name = "windows-1252" if _is_nearly_ascii(data) else guess(data)
    if not name:
        raise SourceError(f"{said}, and its encoding cannot be guessed; left out: {_ADVICE}")
    text = data.decode(python_name(name), "replace")
    if _is_no_writing(text):
        raise NotReadError(f"is binary, as raw pixels are; left out (if it is text: {_ADVICE})")
    return Decoded(_clean(text), f"{said}; read as {name}: {_ADVICE} if that is wrong")


def _is_no_writing(text: str) -> bool:
    """Tell whether a guessed text is such as nobody writes: of a few characters only, or without any space or mark."""
    sample = text[:_SAMPLE]
    if len(sample) < _SAMPLE:
        return False
    letters = set(sample)
    divides = any(letter.isspace() or unicodedata.category(letter)[0] == "P" for letter in letters)
    return len(letters) < _FEWEST_LETTERS or not divides


def _is_nearly_ascii(data: bytes) -> bool:
    """Tell whether bytes above ASCII are so few and far between that no words can be guessed by: a name, a degree."""
    return _high(data) <= _MOST_HIGH * len(data) and _HIGH_WORD.search(data) is None


def _high(data: bytes) -> int:
    """Return how many bytes are above ASCII."""
    return len(data) - len(data.translate(None, _HIGH))


def _clean(text: str) -> str:
    """Return a text with its lines ended by `\\n`, without marks of the byte order, wherever files were joined."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\ufeff" in text:
        text = text.replace("\ufeff", "")
    if "\0" in text:
        text = text.rstrip("\0").replace("\0", " ")
    return text.rstrip("\x1a") if text.endswith("\x1a") else text


def _refuse_known(data: bytes) -> None:
    for magic, what in _MAGIC:
        if data.startswith(magic):
            raise NotReadError(f"is binary, {what}; left out")
    if data[257:262] == b"ustar":
        raise NotReadError("is binary, a tar archive: unpack it; left out")


def _refuse_binary(data: bytes) -> None:
    head = data[:_LOOKED_AT].rstrip(b"\0")  # a log whose end was reserved and never written
    control = len(head) - len(head.translate(None, _CONTROL))
    if control > len(head) * 0.02 or (data and not head):
        advice = " (if it is UTF-16: say `encoding: utf-16`, or --encoding utf-16 on the command line)"
        raise NotReadError("is binary; left out" + advice * (b"\0" in data))
