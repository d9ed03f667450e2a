"""Lines of text from runs: raised, lowered and struck characters, code and links, as blocks have them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal

from attrs import define, evolve, field, frozen

from nexus_core import Block, Code, Figure, Paragraph, Place, Table

Look = Literal["", "raised", "lowered", "struck", "code"]

_ORDINAL = re.compile(r"(?:st|nd|rd|th|er|re|e|o|a|º|ª|TM|®|™|\(R\))", re.IGNORECASE)
"""What is raised for its looks: `1st` is one word."""
_OF_TABLE = re.compile(r"tab", re.IGNORECASE)
"""`Table 3: ...` between a picture and a table is the table's."""
_ONE_WORD = re.compile(r"[-+−–]?\w+(?:[.,]\w+)*|[*†‡′″]+")


@define(eq=False)
class StyledLine:
    """Takes the runs of a paragraph one by one; neighbours that look alike become one."""

    links: list[str] = field(factory=list)
    _runs: list[tuple[str, Look, str]] = field(factory=list)

    def add(self, text: str, look: Look = "", link: str = "") -> None:
        """Add what a run says."""
        if not text:
            return
        if link and (not self._runs or self._runs[-1][2] != link):
            self.links.append(link)
        self._runs.append((text, look, link))

    def text(self) -> str:
        """Return the paragraph on one line, its white space collapsed."""
        return " ".join(self._written().split())

    def lines(self) -> str:
        """Return the paragraph as it is, such as a line of code: without marks, with its blanks and breaks."""
        return "".join(text for text, _, _ in self._runs)

    @property
    def is_code(self) -> bool:
        """Whether all of it looks like code."""
        said = [(text, look) for text, look, _ in self._runs if text.strip()]
        return bool(said) and all(look == "code" for _, look in said)

    def _written(self) -> str:
        pieces: list[str] = []
        linked: list[str] = []
        link = ""
        for text, look, target in [*self._joined(), ("", "", "")]:
            if target != link:
                pieces.append(_as_link("".join(linked), link))
                linked, link = [], target
            linked.append(_marked(text, look))
        return "".join([*pieces, *linked])

    def _joined(self) -> list[tuple[str, Look, str]]:
        joined: list[tuple[list[str], Look, str]] = []
        for text, look, link in self._runs:
            if joined and joined[-1][1:] == (look, link):
                joined[-1][0].append(text)
            else:
                joined.append(([text], look, link))
        return [("".join(texts), look, link) for texts, look, link in joined]


def _as_link(words: str, target: str) -> str:
    if not target:
        return words
    before, inner, after = _edges(words)
    if not inner:
        return words
    if inner == target or f"mailto:{inner}" == target:
        return words
    return f"{before}[{inner}]({target.replace(' ', '%20').replace(')', '%29')}){after}"


def _marked(text: str, look: Look) -> str:
    if not look:
        return text
    before, inner, after = _edges(text)
    if not inner:
        return text
    if look == "struck":
        return f"{before}~~{inner}~~{after}"
    if look == "code":
        return f"{before}`{inner}`{after}" if "`" not in inner else text
    if look == "raised" and _ORDINAL.fullmatch(inner):
        return text
    mark = "^" if look == "raised" else "_"
    return f"{before}{mark}{inner if _ONE_WORD.fullmatch(inner) else f'({inner})'}{after}"


def _edges(text: str) -> tuple[str, str, str]:
    inner = text.strip()
    begin = text.find(inner) if inner else len(text)
    return text[:begin], inner, text[begin + len(inner) :]


def joined_code(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks, the paragraphs of code that follow each other as one."""
    lines: list[str] = []
    place = Place()
    for block in chain(blocks, [None]):
        if isinstance(block, Code):
            place = place if lines else block.place
            lines.append(block.text)
            continue
        text = "\n".join(lines).strip("\n")
        if text.strip():
            yield Code(text=text, place=place)
        lines = []
        if block is not None:
            yield block


@frozen(kw_only=True, eq=False, repr=False)
class CaptionLine(Paragraph):
    """A paragraph in the style of captions, before it is known what it belongs to."""


def with_captions(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks, each caption with its picture, before it, or table, after it or before."""
    before: Block | None = None
    caption: CaptionLine | None = None
    for block in chain(blocks, [None]):
        if caption is not None:
            of_picture = isinstance(before, Figure) and not before.caption and not _OF_TABLE.match(caption.text)
            if isinstance(block, Table) and not block.caption and not of_picture:
                block = evolve(block, caption=caption.text, links=(*caption.links, *block.links))
            elif isinstance(before, Figure | Table) and not before.caption:
                before = evolve(before, caption=caption.text)
            else:
                yield from [before] if before is not None else []
                before = Paragraph(text=caption.text, links=caption.links, place=caption.place)
            caption = None
        if isinstance(block, CaptionLine):
            caption = block
            continue
        yield from [before] if before is not None else []
        before = block
