"""Reads mailboxes: message by message from the file, whatever its size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, ClassVar

from attrs import frozen

from nexus_core import Block, ReadHints, Remark, component
from nexus_core.toolkit import decode
from nexus_readers.mail.headers import header_text
from nexus_readers.mail.message import MailPlace, message_blocks, parse
from nexus_readers.mail.parts import VERSION
from nexus_readers.mail.quoting import text_blocks

LONGEST_LINE = 1 << 20
"""Bytes of a line that are read at once."""
_BEGINS = re.compile(rb"From (?:-?\s*\Z|\S{0,300}@\S{0,300}\s*\Z|(?=.{0,300}\d:\d\d).{0,300}\b(?:19|20)\d\d\b)")
"""With a time and a year, or a sender and nothing else: a sentence may begin with the same word."""
_HEADER = re.compile(rb"[!-9;-~]{1,100}:|>From |\r?\n")
_ESCAPED = re.compile(rb">+From ")


@frozen
class RawMessage:
    """A message as it stands in its mailbox."""

    data: bytes
    line: int
    """Where it begins, from 1."""
    cut: bool = False
    """It was longer than is taken."""


@component
class MailboxReader:
    """Reads mailboxes in the format mbox, in all its variants."""

    version = VERSION
    streams: ClassVar[bool] = True
    """Never more than one message is in memory."""

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks, message by message."""
        head = file.read(5)
        file.seek(0)
        if head != b"From ":
            yield from text_blocks(decode(file.read(hints.max_bytes), hints.default_encoding).text)
            return
        for raw in messages(file, hints.max_bytes):
            try:
                yield from _message(raw, hints)
            except Exception as error:  # noqa: BLE001 - of a library, over one mail; the others are read
                why = f"{type(error).__name__}: {error}"
                yield Remark(text=f"the mail at line {raw.line} cannot be read whole ({why})", lost=True)


def _message(raw: RawMessage, hints: ReadHints) -> Iterator[Block]:
    message = parse(raw.data)
    if not message.keys() and not raw.data.strip():
        return
    if raw.cut:
        yield Remark(
            text=f"the mail {header_text(message, 'subject')!r} at line {raw.line} has more than"
            f" {hints.max_bytes:,} bytes (max_bytes); what follows them is left out",
            lost=True,
        )
    yield from message_blocks(message, hints, MailPlace(line=raw.line))


def messages(file: BinaryIO, most: int) -> Iterator[RawMessage]:
    """Yield the messages of a mailbox, each up to so many bytes."""
    lines: list[bytes] = []
    size, begins, number, blank, whole = 0, 1, 0, True, True
    line = file.readline(LONGEST_LINE)
    while line:
        following = file.readline(LONGEST_LINE)
        number += whole
        if whole and blank and _BEGINS.match(line) and _HEADER.match(following):
            if size:
                yield RawMessage(b"".join(lines), begins, size > most)
            lines, size, begins = [], 0, number + 1
        elif size <= most:
            lines.append(line[1:] if whole and _ESCAPED.match(line) else line)
        size += len(line)
        blank, whole = line in (b"\n", b"\r\n"), line.endswith(b"\n")
        line = following
    if lines:
        yield RawMessage(b"".join(lines), begins, size > most)
