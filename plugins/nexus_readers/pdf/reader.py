"""Reads PDF into blocks, page by page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO, Literal

from attrs import define, evolve, field

from nexus_core import Block, ListItem, PageBreak, Paragraph, ReadHints, Remark, SourceError, component, option
from nexus_core.toolkit import require_extra, version_with
from nexus_readers.pdf.annotations import PageLink
from nexus_readers.pdf.document import OpenFile, open_file
from nexus_readers.pdf.flow import PageFlow
from nexus_readers.pdf.hyphens import LineJoiner
from nexus_readers.pdf.order import regions_of
from nexus_readers.pdf.outline import Outline
from nexus_readers.pdf.pages import PageContent, PageLoader
from nexus_readers.pdf.running import RunningLines
from nexus_readers.pdf.style import PageStyle

_AHEAD = 64
"""Pages by which is told how large the text of the document is, and which lines run through it."""
_MOST_TOLD = 60
"""Pages that a remark names."""


@component
class PdfReader:
    """Reads PDF: text in reading order, headings, tables, form values, notes."""

    version = version_with("2", ocr="rapidocr")

    ocr: Literal["auto", "off"] = option(
        "auto", help="Text recognition for pages that are pictures: `auto` does it where the extra `ocr` is installed."
    )

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks of a PDF; raises SourceError where it cannot be read or holds no text."""
        raw = require_extra("pypdfium2.raw", "pdf", "PDF files")
        opened = open_file(raw, file.read())
        loader = PageLoader(opened, ocr=self.ocr == "auto")
        try:
            yield from _Reading(opened, loader).blocks()
        finally:
            loader.close()
            opened.close()


@define(eq=False)
class _Reading:
    """The reading of one document."""

    file: OpenFile
    loader: PageLoader
    running: RunningLines = field(factory=RunningLines)
    style: PageStyle = field(factory=PageStyle)
    held: list[PageContent] = field(factory=list)
    """The pages that are looked at together."""

    def blocks(self) -> Iterator[Block]:
        yield self.file.metadata()
        if self.file.damage:
            yield Remark(
                text=f"is damaged and was repaired: {self.file.damage}{self._missing()}", lost=bool(self.file.missing)
            )
        outline = Outline.read(self.file.raw, self.file.handle)
        has_text = False
        pages = self.loader.pages()
        is_first = True
        while held := list(islice(pages, _AHEAD)):
            self.held = held
            joiner = LineJoiner(lambda: (page.text for page in self.held))
            for page in self.held:
                self.running.learn(page.number, page.height, page.spans)
            for page in self.held:
                page.spans, printed = self.running.without(page.number, page.height, page.spans)
                page.label = page.label or (printed if printed != str(page.number) else "")
            if is_first:
                self.style = PageStyle.of(span for page in self.held for span in page.spans)
                is_first = False
            for page in self.held:
                for block in self._page(page, outline, joiner):
                    has_text = has_text or not isinstance(block, PageBreak)
                    yield block
        yield from self._remarks(has_text)

    def _missing(self) -> str:
        if self.file.missing is None:
            return "; pages after the last one may be missing" if "end" in self.file.damage else ""
        return f"; {self.file.missing or 'none'} of its pages are missing"

    def _page(self, page: PageContent, outline: Outline, joiner: LineJoiner) -> Iterator[Block]:
        yield PageBreak(number=page.number, label=page.label)
        regions = regions_of(page.spans)
        flow = PageFlow(page.number, page.width, self.style, joiner, outline.on_page(page.number, page.height, regions))
        blocks = flow.read(regions)
        yield from with_links(blocks, page.links) if page.links else blocks

    def _remarks(self, has_text: bool) -> Iterator[Block]:
        loader = self.loader
        if not has_text and not loader.unread:
            if loader.scanned:
                raise SourceError(f"is a PDF without any text, perhaps a scan; left out{loader.advice}")
            raise SourceError("is a PDF without any text; left out")
        if loader.unread:
            yield Remark(text=f"{_listed(loader.unread)} cannot be read: damaged", lost=True)
        if loader.scanned:
            verb = "has" if len(loader.scanned) == 1 else "have"
            text = f"{_listed(loader.scanned)} {verb} no text, perhaps scans{loader.advice}"
            yield Remark(text=text, lost=True)
        if loader.illegible:
            text = f"{_listed(loader.illegible)}: a font does not tell which letters it shows, some text is missing"
            yield Remark(text=text, lost=True)


def _listed(pages: list[int]) -> str:
    """Return how a remark names pages: `page 4`, `pages 2, 3, 4`."""
    named = ", ".join(map(str, pages[:_MOST_TOLD]))
    more = f" and {len(pages) - _MOST_TOLD} more" if len(pages) > _MOST_TOLD else ""
    return f"page{'s' * (len(pages) > 1)} {named}{more}"


def with_links(blocks: Iterable[Block], links: list[PageLink]) -> Iterator[Block]:
    """Yield blocks with the links of their page, each at the first place where its words stand."""
    waiting = list(links)
    for block in blocks:
        if isinstance(block, Paragraph | ListItem) and waiting:
            text, left, at = block.text, [], 0
            for link in waiting:
                begin = text.find(link.words, at) if link.words else -1
                if begin < 0:
                    left.append(link)
                    continue
                begin, end = _whole_words(text, begin, begin + len(link.words))
                words = text[begin:end]
                written = words if _shows(words, link.target) else f"[{words}]({link.target})"
                text, at = text[:begin] + written + text[end:], begin + len(written)
            waiting = left
            block = evolve(block, text=text) if text != block.text else block
        yield block


def _whole_words(text: str, begin: int, end: int) -> tuple[int, int]:
    """Return a stretch of a text up to the next ends of words: the area of a link may cut a letter off."""
    while begin > 0 and text[begin - 1].isalnum() and text[begin].isalnum():
        begin -= 1
    while end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        end += 1
    return begin, end


def _shows(words: str, target: str) -> bool:
    """Tell whether the words of a link are its target."""
    bare = re.sub(r"^(?:https?://|mailto:|tel:)", "", target).rstrip("/")
    return bare.lower() in words.lower().replace(" ", "")
