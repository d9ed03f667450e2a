"""A page that was parsed, with what is known of it as a whole before it is read from its beginning to its end."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen
from selectolax.lexbor import LexborHTMLParser, LexborNode

from nexus_readers.web.notes import Notes
from nexus_readers.web.source import Lines, MendedPage, mend
from nexus_readers.web.styles import Styles

_CONTROLS = re.compile(r"aria-controls\s*=\s*[\"']?([^\"'>]{1,500})")
_SIGNS_OF_NOTES = ("<sup", "<SUP", '"#', "'#", "=#")
_MAIN = "main, [role=main]"


@frozen(eq=False)
class PageOptions:
    """How a page is to be read."""

    main_text: bool = False
    """Only the part that is marked as its content."""
    navigation: bool = False
    """What is marked as navigation, too."""
    frames: Mapping[str, str] = field(factory=dict)
    """The pages inside of its frames, by their addresses, where a file holds them all."""


@frozen(eq=False)
class Page:
    """A page, parsed."""

    parser: LexborHTMLParser
    source: MendedPage
    styles: Styles
    notes: Notes
    lines: Lines
    options: PageOptions
    has_main: bool
    """Some part of it is marked as its content."""
    scripted_formulas: bool
    """MathJax reads formulas from scripts in it."""
    marked_unseen: bool
    """Classes in it may tell of what is not read."""

    @classmethod
    def of(cls, text: str, options: PageOptions, xml: bool = False) -> Page:
        """Return a page, given its source."""
        lower = text.lower()
        source = mend(text, lower, xml)
        text = source.text
        formulas = "math" in lower
        parser = LexborHTMLParser(text)
        controlled = (
            [name for found in _CONTROLS.findall(text) for name in found.split()] if "aria-controls" in text else ()
        )
        sheets = [node.text() for node in parser.css("style")] if "<style" in lower else ()
        return cls(
            parser=parser,
            source=source,
            styles=Styles.of(sheets, controlled),
            notes=Notes.of(parser) if any(sign in text for sign in _SIGNS_OF_NOTES) else Notes(),
            lines=Lines(text),
            options=options,
            has_main=parser.css_first("main, article, [role=main]") is not None,
            scripted_formulas=formulas and "math/tex" in text,
            marked_unseen=formulas or "mw-" in text,
        )

    @property
    def root(self) -> LexborNode | None:
        """Where reading begins."""
        if self.options.main_text and (main := self._main()) is not None:
            return main
        return self.parser.root

    def _main(self) -> LexborNode | None:
        for query in (_MAIN, "article"):
            found = [
                node
                for node in self.parser.css(query)
                if not self.styles.look(node.tag or "", node.attributes).hidden and node.text().strip()
            ]
            if found:
                return found[0] if len(found) == 1 else None
        return None
