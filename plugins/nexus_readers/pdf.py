"""Reads PDF: sections by the outline where there is one, else by page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

from attrs import frozen

from nexus_core import Block, ReadHints, SourceError, component
from nexus_core.toolkit import shortened
from nexus_readers.legacy import OldSection, ReadResult, blocks_of, nested

MISSING = "reading PDF needs pypdf: pip install 'contextnexus[pdf]'"

_HYPHENATED = re.compile(r"(?<=[^\W\d_])[-\u00ad]\n(?=[a-z\u00df-\u00ff])")
_WRAPPED = re.compile(r"(?<![.!?:;\n \t])[ \t]*+\n(?=[a-z\u00df-\u00ff(0-9])")
_LONGEST_OUTLINE = 5000
_SEARCHED = 20
"""How many times the text, at most, is searched for the titles of the outline; the rest begins where its page does."""
_MOST_TEXT = 100
"""How many times as long as the file its text may be: thousands of pages may show one and the same stream."""
_LITTLE_TEXT = 1_000_000


@frozen(eq=False, repr=False)
class _Entry:
    level: int
    title: str
    page: int
    """From 0."""


def read(data: bytes) -> ReadResult:
    """Return a PDF with its sections; raises SourceError where it cannot be read or holds no text."""
    try:
        # An extra: not everybody has PDF files.
        from pypdf import PdfReader
    except ImportError as error:
        raise SourceError(MISSING) from error
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise SourceError("is a PDF that needs a password; left out")
        pages = list(_pages(reader, _LITTLE_TEXT + _MOST_TEXT * len(data)))
        entries, title = tuple(_outline(reader)), str((reader.metadata and reader.metadata.title) or "")
    except SourceError:
        raise
    except Exception as error:  # a damaged file makes pypdf raise almost anything
        raise SourceError(f"is a PDF that cannot be read ({type(error).__name__}: {error}); left out") from error
    if not any(pages):
        raise SourceError("is a PDF without any text, perhaps a scan; left out: run a text recognition over it")
    sections = _by_outline(pages, entries) if entries else _by_page(pages)
    whole = "\n\n".join(filter(None, pages))
    return ReadResult(text=whole, sections=sections, title=" ".join(title.split()), metadata={"pages": len(pages)})


def _pages(reader: Any, most: int) -> Iterator[str]:
    """Yield the texts of the pages; raises SourceError where they have more characters than `most`."""
    total = 0
    for page in reader.pages:
        text = _tidied(page.extract_text())
        total += len(text)
        if total > most:
            raise SourceError(f"is a PDF with more than {most:,} characters of text, far more than its size; left out")
        yield text


def _tidied(text: str) -> str:
    """Return the text of a page with the words and sentences joined that the end of a line has cut."""
    text = text.replace("\r\n", "\n").replace("\0", "")
    return _WRAPPED.sub(" ", _HYPHENATED.sub("", text)).strip()


def _outline(reader: Any) -> Iterator[_Entry]:
    waiting = [(entry, 1) for entry in reversed(reader.outline)]
    count = 0
    while waiting and count < _LONGEST_OUTLINE:
        entry, level = waiting.pop()
        if isinstance(entry, list):
            waiting.extend((inner, level + 1) for inner in reversed(entry))
            continue
        count += 1
        page = reader.get_destination_page_number(entry)
        title = " ".join(str(entry.title or "").split())
        if title and page is not None and page >= 0:
            yield _Entry(level, title, page)


def _by_page(pages: list[str]) -> tuple[OldSection, ...]:
    return tuple(
        OldSection(text=text, anchor=f"page-{number}", page=number) for number, text in enumerate(pages, 1) if text
    )


def _by_outline(pages: list[str], entries: tuple[_Entry, ...]) -> tuple[OldSection, ...]:
    """Cut the text where the titles of the outline stand on their pages, or where their page begins."""
    offsets = [0]
    for page in pages:
        offsets.append(offsets[-1] + len(page) + 2)
    text = "\n\n".join(pages)
    places = []
    at, left = 0, _SEARCHED * len(text)
    for entry in entries:
        begin = max(at, offsets[entry.page])
        found = None
        if left > 0:
            title = re.compile(r"\s+".join(map(re.escape, shortened(entry.title).split())), re.IGNORECASE)
            found = title.search(text, begin, max(begin, offsets[entry.page + 1]))
            left -= (found.end() if found else max(begin, offsets[entry.page + 1])) - begin
        at = found.start() if found else begin
        places.append((at, found.end() if found else begin))
    sections = [OldSection(text=text[: places[0][0]].strip(), page=1)]
    paths = nested((entry.level, entry.title) for entry in entries)
    ends = [first for first, _ in places[1:]] + [len(text)]
    for entry, path, (_, after), end in zip(entries, paths, places, ends, strict=True):
        sections.append(OldSection(text=text[after:end].strip(), headings=path, page=entry.page + 1))
    return tuple(section for section in sections if section.text)


@component
class PdfReader:
    """Reads pdf."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        yield from blocks_of(read(file.read()))
