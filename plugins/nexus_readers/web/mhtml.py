"""Reads MHTML: a page that a browser has saved with all that belongs to it, as one mail message."""

from __future__ import annotations

from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import BinaryIO

from attrs import evolve

from nexus_core import Block, Metadata, ReadHints, Remark, SourceError, component, option
from nexus_core.toolkit import decode
from nexus_readers.web.html import page_blocks

_PAGES = ("text/html", "application/xhtml+xml")
_MOST_PARTS = 2_000


@component
class MhtmlReader:
    """Reads MHTML."""

    version = "1"

    main_text: bool = option(
        default=False, help="only the part that a page marks as its content (main, or its one article)"
    )

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks of the page, with those of the pages in its frames."""
        message = BytesParser(EmailMessage, policy=policy.default).parsebytes(file.read(hints.max_bytes))
        parts = [part for part, _ in zip(message.walk(), range(_MOST_PARTS), strict=False) if not part.is_multipart()]
        pages = [part for part in parts if part.get_content_type() in _PAGES]
        if not pages:
            raise SourceError("holds no page (no part of it is HTML); left out")
        first = _start(message, pages)
        frames = {}
        for part in pages:
            if part is not first:
                text, _ = _text(part, hints)
                frames.update(dict.fromkeys(_addresses(part), text))
        text, problem = _text(first, hints)
        if problem:
            yield Remark(text=problem)
        xml = first.get_content_type() != "text/html"
        for block in page_blocks(text, self.main_text, frames=frames, xml=xml):
            yield _with_headers(block, message) if isinstance(block, Metadata) else block


def _start(message: EmailMessage, pages: list[EmailMessage]) -> EmailMessage:
    """Return the part that is the page itself: the one that is named as such, else the first."""
    named = str(message.get_param("start") or "").strip("<> ")
    return next((page for page in pages if named and _content_id(page) == named), pages[0])


def _content_id(part: EmailMessage) -> str:
    return str(part.get("Content-ID") or "").strip("<> ")


def _addresses(part: EmailMessage) -> Iterator[str]:
    if name := _content_id(part):
        yield f"cid:{name}"
    if location := str(part.get("Content-Location") or "").strip():
        yield location


def _text(part: EmailMessage, hints: ReadHints) -> tuple[str, str]:
    data = part.get_payload(decode=True)
    declared = part.get_content_charset() or ""
    decoded = decode(data if isinstance(data, bytes) else b"", hints.default_encoding, declared=declared)
    return decoded.text, decoded.problem


def _with_headers(metadata: Metadata, message: EmailMessage) -> Metadata:
    """Add what the headers tell and the page does not: its title, and when it was saved."""
    date = getattr(message.get("Date"), "datetime", None)
    subject = " ".join(str(message.get("Subject") or "").split())
    return evolve(
        metadata,
        title=metadata.title or subject,
        date=metadata.date or (date.isoformat() if date is not None else ""),
    )
