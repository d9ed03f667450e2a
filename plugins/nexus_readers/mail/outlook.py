"""Reads mails saved by Outlook (.msg): a compound file whose streams are the properties of MAPI (MS-OXMSG).

`olefile` reads the compound file; the properties are decoded here, since the library that does both is under the GPL.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from attrs import define, field

from nexus_core import Block, Heading, Metadata, Paragraph, ReadHints, Remark, SourceError, component
from nexus_core.toolkit import require_extra
from nexus_readers.mail.headers import LONGEST, text_of
from nexus_readers.mail.message import parse
from nexus_readers.mail.packed_rtf import unpacked
from nexus_readers.mail.parts import VERSION, html_blocks
from nexus_readers.mail.quoting import text_blocks

DEEPEST_MAILS = 5
MOST_ATTACHMENTS = 2_000
_SUBJECT, _SENDER, _SENDER_SMTP, _SENDER_ADDRESS = 0x0037, 0x0C1A, 0x5D01, 0x0C1F
_TO, _CC, _MESSAGE_ID, _BODY, _RTF, _HTML = 0x0E04, 0x0E03, 0x1035, 0x1000, 0x1009, 0x1013
_HEADERS, _SENT, _DELIVERED, _CODE_PAGE, _MESSAGE_CODE_PAGE = 0x007D, 0x0039, 0x0E06, 0x3FDE, 0x3FFD
_DATA, _LONG_NAME, _SHORT_NAME, _MEDIA_TYPE, _CLASS = 0x3701, 0x3707, 0x3704, 0x370E, 0x001A
_FIRST_DAY = datetime(1601, 1, 1, tzinfo=UTC)
_CODE_PAGES = {65001: "utf-8", 20127: "ascii", 28591: "iso-8859-1", 28592: "iso-8859-2", 50220: "iso-2022-jp"}


@define(eq=False, repr=False)
class Properties:
    """The properties of a message or an attachment: the streams of one folder of the file."""

    ole: Any
    folder: tuple[str, ...]
    budget: list[int]
    """Bytes that may still be read of the file: its streams may all be the same bytes."""
    fixed: dict[int, bytes] = field(factory=dict)
    """Those of a fixed length, in eight bytes."""

    def __attrs_post_init__(self) -> None:
        data = self._stream("__properties_version1.0")
        head = 32 if not self.folder else 8 if len(self.folder) % 2 else 24  # mails stand in attachments of mails
        for at in range(head, len(data) - 15, 16):
            (tag,) = struct.unpack_from("<I", data, at)
            self.fixed[tag >> 16] = data[at + 8 : at + 16]

    def _stream(self, name: str) -> bytes:
        path = [*self.folder, name]
        if not self.ole.exists(path):
            return b""
        if self.ole.get_size(path) > self.budget[0]:
            raise SourceError("is damaged, or holds more bytes than are taken (max_bytes); left out")
        with self.ole.openstream(path) as stream:
            data: bytes = stream.read()
        self.budget[0] -= len(data)
        return data

    def data(self, tag: int) -> bytes:
        """Return a property of bytes."""
        return self._stream(f"__substg1.0_{tag:04X}0102")

    def text(self, tag: int) -> str:
        """Return a property that is text, in either of the two forms that there are."""
        wide = self._stream(f"__substg1.0_{tag:04X}001F")
        if wide:
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        return text_of(self._stream(f"__substg1.0_{tag:04X}001E"), self.charset).rstrip("\0")

    @property
    def charset(self) -> str:
        """Return what texts of single bytes are in."""
        number = self.number(_CODE_PAGE) or self.number(_MESSAGE_CODE_PAGE)
        return _CODE_PAGES.get(number, f"cp{number}") if number else ""

    def number(self, tag: int) -> int:
        """Return a number of 32 bits; 0 where there is none."""
        return int.from_bytes(self.fixed.get(tag, b"")[:4], "little")

    def time(self, tag: int) -> str:
        """Return a time in ISO 8601; empty where there is none."""
        ticks = int.from_bytes(self.fixed.get(tag, b""), "little")
        try:
            return (_FIRST_DAY + timedelta(microseconds=ticks // 10)).isoformat(timespec="seconds") if ticks else ""
        except OverflowError:
            return ""

    def inside(self, *names: str) -> Properties:
        """Return the properties of what stands in this one."""
        return Properties(self.ole, (*self.folder, *names), self.budget)


@component
class OutlookReader:
    """Reads mails saved by Outlook."""

    version = VERSION

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        olefile = require_extra("olefile", "documents", "mails saved by Outlook")
        if file.read(8) != olefile.MAGIC:
            raise SourceError("is no mail as Outlook saves it; left out")
        file.seek(0)
        with olefile.OleFileIO(file) as ole:
            top = Properties(ole, (), [2 * hints.max_bytes])  # some are looked at twice
            told = _values_of(top)
            yield Metadata(title=top.text(_SUBJECT), author=told.get("from", ""), date=told.get("date", ""))
            yield from _mail(top, hints, 1)


def _values_of(mail: Properties) -> dict[str, str]:
    """Return who wrote to whom and when."""
    sent = parse(mail.text(_HEADERS).encode("utf-8", "replace"))
    name, address = mail.text(_SENDER), mail.text(_SENDER_SMTP) or mail.text(_SENDER_ADDRESS)
    sender = f"{name} <{address}>" if name and "@" in address and name != address else name or address
    told = {
        "from": sender,
        "to": mail.text(_TO),
        "cc": mail.text(_CC),
        "date": mail.time(_SENT) or mail.time(_DELIVERED),
        "message-id": (mail.text(_MESSAGE_ID) or str(sent.get("message-id", ""))).strip("<> "),
    }
    return {name: " ".join(value.split())[:LONGEST] for name, value in told.items() if value}


def _mail(mail: Properties, hints: ReadHints, level: int) -> Iterator[Block]:
    subject, told = " ".join(mail.text(_SUBJECT).split()), _values_of(mail)
    yield Heading(
        text=subject or f"Mail from {told.get('from', 'nobody')}", implied=not subject, level=level, values=told
    )
    head = "; ".join(f"{name.title()}: {told[name]}" for name in ("from", "to", "cc", "date") if name in told)
    if head:
        yield Paragraph(text=head)
    yield from _body(mail, hints, level)
    for number in range(MOST_ATTACHMENTS):
        folder = f"__attach_version1.0_#{number:08X}"
        if not mail.ole.exists([*mail.folder, folder]):
            break
        yield from _attached(mail, folder, hints, level)


def _body(mail: Properties, hints: ReadHints, level: int) -> Iterator[Block]:
    plain = mail.text(_BODY)
    if plain.strip():
        yield from text_blocks(plain)
    elif html := text_of(mail.data(_HTML), mail.charset) or mail.text(_HTML):
        yield from html_blocks(html, hints, level)
    elif packed := mail.data(_RTF):
        text = unpacked(packed, hints.max_bytes)
        yield from hints.read_inner("body.rtf", text, "application/rtf", level)
    if "SMIME" in mail.text(_CLASS).upper() and not plain.strip():
        yield Remark(text="the body of a mail cannot be read: it is encrypted (S/MIME); save it decrypted", lost=True)


def _attached(mail: Properties, folder: str, hints: ReadHints, level: int) -> Iterator[Block]:
    attachment = mail.inside(folder)
    name = attachment.text(_LONG_NAME) or attachment.text(_SHORT_NAME) or "attachment"
    data = attachment.data(_DATA)
    embedded = f"__substg1.0_{_DATA:04X}000D"
    if data:
        yield from hints.read_inner(name.rsplit("\\", 1)[-1], data, attachment.text(_MEDIA_TYPE), level + 1)
    elif mail.ole.exists([*attachment.folder, embedded, "__properties_version1.0"]):
        if level >= DEEPEST_MAILS:
            yield Remark(text=f"{name} is left out: there are too many mails inside of each other", lost=True)
        else:
            yield from _mail(attachment.inside(embedded), hints, level + 1)
