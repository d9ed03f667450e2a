"""How far the reading of a page has come: what all handlers of elements share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field
from selectolax.lexbor import LexborNode

from nexus_core import Remark
from nexus_readers.web.flow import Flow, Frame
from nexus_readers.web.lists import OpenList
from nexus_readers.web.page import Page

Attributes = Mapping[str, str | None]
Close = Callable[[], None]
Opened = Close | bool
"""What is to be done where an element ends; or whether what is inside of it is read at all."""


@define(eq=False)
class Progress:
    """The state of reading a page."""

    page: Page
    flow: Flow
    walk: Callable[[LexborNode], None]
    """Reads what is inside of an element, such as a shadow root."""
    read_page: Callable[[str], None]
    """Reads a page inside of this one."""
    lists: list[OpenList] = field(factory=list)
    parts: int = 0
    """How many elements are open whose header and footer are their own: articles, sections, quotations."""
    in_code: bool = False
    in_note: bool = False
    inner: int = 0
    """How many pages and shadow roots this one is inside of."""
    hosts: int = 0
    """How many divisions are open that were looked through for lines of code."""
    remarks: list[Remark] = field(factory=list)
    anchors: set[str] = field(factory=set)
    """Names of places that a heading has already."""

    def block(self) -> Close:
        """Begin what is a block of its own, and return what ends it."""
        self.flow.boundary()
        return self.flow.boundary

    def soft_block(self) -> Close:
        """Begin a block that may stand in a heading, too."""
        self.flow.boundary(soft=True)
        return self._end_soft

    def _end_soft(self) -> None:
        self.flow.boundary(soft=True)

    def end_host(self) -> None:
        """End a division that was looked through for lines of code."""
        self.hosts -= 1
        self.flow.boundary(soft=True)

    def framed(self, frame: Frame) -> Close:
        """Begin what stands in a frame, such as a list item, and return what ends it."""
        self.flow.frames.append(frame)

        def close() -> None:
            self.flow.boundary()
            self.flow.frames.pop()

        return close

    def marked(self) -> Close:
        """Return what ends the inline mark that was opened last."""
        return self.flow.text.close
