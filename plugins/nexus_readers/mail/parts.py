"""The parts of a mail: which of several versions is read, what is attached, what cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

from attrs import evolve

from nexus_core import Block, Heading, ReadHints, Remark
from nexus_core.toolkit import version_with
from nexus_readers.mail.headers import decode_words, head_lines, header_text, text_of, told_values
from nexus_readers.mail.quoting import text_blocks

DEEPEST_PARTS = 50
"""Parts in parts."""
_POINTS_TO_HTML = re.compile(r"\b(?:x?html|browsers?|navigateur|navegador|web ?version)\b", re.IGNORECASE)
_SHORT = 400
"""Characters of a text that may only say where the real one is."""
_SEALS = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
_SMIME = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_HTML = ("text/html", "application/xhtml+xml")

Part = Message

VERSION = version_with("1", pdf="pypdfium2", documents="lxml", ocr="rapidocr", parquet="pyarrow")
"""Of the readers of mail: attachments that an extra reads are read once it is installed."""


def part_blocks(part: Part, hints: ReadHints, level: int, depth: int = 0) -> Iterator[Block]:
    """Yield the blocks of a part; the headings in it are below a level."""
    if depth > DEEPEST_PARTS:
        yield Remark(text="parts inside of each other are left out: there are too many", lost=True)
        return
    read = _READERS.get(part.get_content_type()) or _READERS.get(part.get_content_maintype()) or _attachment
    if is_attached(part) and not part.is_multipart() and read is not _seal:
        read = _attachment
    yield from read(part, hints, level, depth)


def is_attached(part: Part) -> bool:
    """Tell whether a part is a file of its own."""
    return part.get_content_disposition() == "attachment" or bool(
        part.get_filename() and part.get_content_disposition() != "inline"
    )


def content_of(part: Part) -> bytes:
    """Return the bytes of a part."""
    data: Any = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def part_text(part: Part) -> str:
    """Return the text of a part, in whatever charset it is."""
    return text_of(content_of(part), str(part.get_content_charset() or ""))


def _parts(part: Part) -> list[Part]:
    payload: Any = part.get_payload()
    return [each for each in payload if isinstance(each, Message)] if isinstance(payload, list) else []


def _each_part(part: Part, hints: ReadHints, level: int, depth: int) -> Iterator[Block]:
    if not _parts(part):  # the boundary that it names is not there
        yield from text_blocks(part_text(part) or str(part.get_payload() or ""))
    for each in _parts(part):
        yield from part_blocks(each, hints, level, depth + 1)


def _alternative(part: Part, hints: ReadHints, level: int, depth: int) -> Iterator[Block]:
    """Yield the version that says most: plain text, unless it only points to another one; and what is attached."""
    versions = _parts(part)
    plain = [each for each in versions if each.get_content_type() == "text/plain" and _says_something(each)]
    rich = [each for each in versions if each.get_content_type() in _HTML or each.is_multipart()]
    chosen = plain[:1] or rich[-1:] or versions[-1:]
    for each in versions:
        if each in chosen or each.get_content_type() == "text/calendar":
            yield from part_blocks(each, hints, level, depth + 1)
        elif each.is_multipart():
            for leaf in each.walk():
                if is_attached(leaf) and not leaf.is_multipart():
                    yield from _attachment(leaf, hints, level, depth)
    if not versions:
        yield from _each_part(part, hints, level, depth)


def _says_something(part: Part) -> bool:
    text = part_text(part).strip()
    return bool(text) and not (len(text) < _SHORT and _POINTS_TO_HTML.search(text))


def _plain(part: Part, hints: ReadHints, level: int, depth: int) -> Iterator[Block]:
    flowed = str(part.get_param("format", "")).lower() == "flowed"
    yield from text_blocks(part_text(part), flowed=flowed, joins=str(part.get_param("delsp", "")).lower() == "yes")


def _html(part: Part, hints: ReadHints, level: int, depth: int) -> Iterator[Block]:
    yield from html_blocks(part_text(part), hints, level)


def html_blocks(page: str, hints: ReadHints, level: int) -> Iterator[Block]:
    """Yield the blocks of a body in HTML, its headings below a level."""
    if not page.strip():
        return
    blocks = hints.read_inner("body.html", ("\ufeff" + page).encode("utf-8", "replace"), "text/html", max(level, 1))
    for number, block in enumerate(blocks):
        if number == 0 and isinstance(block, Heading) and block.implied:
            continue  # the name of the body is none
        if isinstance(block, Heading) and level == 0:
            yield evolve(block, level=max(1, block.level - 1))
        else:
            yield block


def _message(part: Part, hints: ReadHints, level: int, depth: int) -> Iterator[Block]:
    """Yield a mail inside of a mail, or what a server tells of one."""
    for inner in _parts(part):
        if part.get_content_type() != "message/rfc822":
            yield from text_blocks("\n\n".join(f"{name}: {header_text(inner, name)}" for name in inner))
            continue
        subject = header_text(inner, "subject")
        yield Heading(text=subject or "Forwarded mail", implied=not subject, level=level + 1, values=told_values(inner))
        yield from text_blocks("; ".join(head_lines(inner)))
        yield from part_blocks(inner, hints, level + 1, depth + 1)


def _encrypted(part: Part, hints: ReadHints, level: int, depth: int) -> Iterator[Block]:
    how = "S/MIME" if part.get_content_type() in _SMIME else "PGP"
    what = "its text is in a signed envelope" if part.get_param("smime-type") == "signed-data" else "it is encrypted"
    yield Remark(text=f"the body of a mail cannot be read: {what} ({how}); save it decrypted", lost=True)


def _seal(part: Part, hints: ReadHints, level: int, depth: int) -> Iterator[Block]:
    yield from ()


def _attachment(part: Part, hints: ReadHints, level: int, depth: int) -> Iterator[Block]:
    if part.get_content_type() == "message/rfc822" or part.is_multipart():
        yield from _message(part, hints, level, depth)
        return
    data = content_of(part)
    charset = str(part.get_content_charset() or "")
    if charset and part.get_content_maintype() == "text":
        data = ("\ufeff" + text_of(data, charset)).encode("utf-8", "replace")
    name = attachment_name(part)
    if data:
        yield from hints.read_inner(name, data, part.get_content_type(), level + 1)


def attachment_name(part: Part) -> str:
    """Return what an attachment is called, without folders."""
    name = decode_words(part.get_filename() or "").replace("\\", "/").rsplit("/", 1)[-1]
    return name or f"attachment ({part.get_content_type()})"


_READERS: dict[str, Callable[[Part, ReadHints, int, int], Iterator[Block]]] = {
    "multipart/alternative": _alternative,
    "multipart/encrypted": _encrypted,
    "multipart": _each_part,
    "text/plain": _plain,
    "message": _message,
    **dict.fromkeys(_HTML, _html),
    **dict.fromkeys(_SMIME, _encrypted),
    **dict.fromkeys(_SEALS, _seal),
}
