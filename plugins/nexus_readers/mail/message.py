"""Reads a mail: its headers as metadata, its body, and what is attached by the readers for that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from typing import Any, BinaryIO

from attrs import frozen

from nexus_core import Block, Heading, Metadata, Paragraph, Place, ReadHints, component
from nexus_core.toolkit import decode
from nexus_readers.mail.headers import head_lines, header_text, iso_date, told_values
from nexus_readers.mail.parts import VERSION, part_blocks
from nexus_readers.mail.quoting import text_blocks

LONGEST_HEADER = 10_000
LONGEST_CONTENT_HEADER = 2_000
"""Characters: the parameters of these cost the standard library the square of their length."""
_APPLE = re.compile(rb"\d{1,9}\s*\n")
"""The first line of an .emlx file: how long the mail is; a property list follows it."""
_SAVED_PAGE = ("<saved by", "saved by")


class _ShortHeaders(Compat32):
    """Headers as they are, none of them too long: own code decodes them, since the new policy refuses faulty ones."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        most = LONGEST_CONTENT_HEADER if name.lower().startswith("content-") else LONGEST_HEADER
        return name, value[:most]

    def header_fetch_parse(self, name: str, value: str) -> Any:
        return value  # with its raw bytes, whose charset is guessed later


_PARSER = BytesParser(policy=_ShortHeaders())


def parse(data: bytes) -> Message[str, str]:
    """Return the message in some bytes; whatever is wrong with them, there is one."""
    message: Any = _PARSER.parsebytes(data)
    return message  # type: ignore[no-any-return]


@frozen(kw_only=True)
class MailPlace:
    """Where a message is to stand."""

    level: int = 1
    """Of its heading."""
    line: int = 1
    """Where it begins in its file."""


def message_blocks(message: Message[str, str], hints: ReadHints, place: MailPlace) -> Iterator[Block]:
    """Yield a message: its subject as heading, who wrote it to whom and when, its body, its attachments."""
    subject = header_text(message, "subject")
    is_page = is_saved_page(message)
    at = Place(line=place.line)
    if not is_page:
        yield Heading(
            text=subject or _unnamed(message),
            implied=not subject,
            level=place.level,
            values=told_values(message),
            place=at,
        )
        if head := "; ".join(head_lines(message)):
            yield Paragraph(text=head, place=at)
    elif subject:
        yield Metadata(title=subject, date=iso_date(header_text(message, "date")))
    yield from part_blocks(message, hints, 0 if is_page else place.level)


def is_saved_page(message: Message[str, str]) -> bool:
    """Tell whether a message is a page of the web that a browser has saved: it was sent by nobody."""
    sender = header_text(message, "from").lower()
    return sender.startswith(_SAVED_PAGE) or not (sender or header_text(message, "to"))


def _unnamed(message: Message[str, str]) -> str:
    return f"Mail from {header_text(message, 'from') or 'nobody'}"


@component
class MailReader:
    """Reads single messages: .eml, .emlx, and pages saved as .mhtml."""

    version = VERSION

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        data = file.read()
        if hints.suffix == ".emlx" and (found := _APPLE.match(data)):
            data = data[found.end() : found.end() + int(found[0])]
        message = parse(data.removeprefix(b"\xef\xbb\xbf").lstrip())
        if not message.keys():
            yield from text_blocks(decode(data, hints.default_encoding).text)  # no mail: text, or no text at all
            return
        if not is_saved_page(message):
            yield Metadata(
                title=header_text(message, "subject"),
                author=header_text(message, "from"),
                date=iso_date(header_text(message, "date")),
            )
        yield from message_blocks(message, hints, MailPlace())
