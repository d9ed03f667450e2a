"""Reads HTML: what people see of a page, parsed as browsers parse it; what nobody sees is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from nexus_core import Block, ReadHints, Remark, component, option
from nexus_core.toolkit import decode
from nexus_readers.web.metadata import metadata_of
from nexus_readers.web.page import Page, PageOptions
from nexus_readers.web.walk import blocks_of

_XML = (".xhtml", ".xht", "application/xhtml+xml")


@component
class HtmlReader:
    """Reads HTML and XHTML."""

    version = "3"

    main_text: bool = option(
        default=False, help="only the part that a page marks as its content (main, or its one article)"
    )

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield what the page says of itself, then its blocks."""
        decoded = decode(file.read(), hints.default_encoding, declared=hints.encoding)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        xml = hints.suffix in _XML or decoded.text[:200].lstrip().startswith("<?xml")
        yield from page_blocks(decoded.text, self.main_text, xml=xml)


def page_blocks(
    text: str, main_text: bool = False, frames: Mapping[str, str] | None = None, xml: bool = False
) -> Iterator[Block]:
    """Yield what a page says of itself, then its blocks; `frames` are the pages inside of it, by address."""
    page = Page.of(text, PageOptions(main_text=main_text, frames=frames or {}), xml)
    yield metadata_of(page.parser)
    for remark in page.source.remarks:
        yield Remark(text=remark)
    blocks, remarks = blocks_of(page)
    if not blocks:
        # A page of nothing but links, as sites have them for an overview.
        blocks, remarks = blocks_of(Page.of(text, PageOptions(navigation=True, frames=frames or {}), xml))
    yield from remarks
    yield from blocks
