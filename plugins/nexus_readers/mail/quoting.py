"""The plain text of a mail into blocks: lines joined as they were written, replies by who is quoted, lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from attrs import define, field

from nexus_core import Block, ListItem, Paragraph, Quotation, Remark

_QUOTED = re.compile(r"(?:>[ ]?)+")
_LISTED = re.compile(r"[ \t]{0,12}([-*•+]|\d{1,3}[.)])[ \t]+(?=\S)")
_SIGNATURE = ("-- ", "--")
_SHORT = 45
"""A shorter line was ended by its writer: the lines of an address stay lines."""
_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"
_SEAL = ("-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----")
_SECRET = ("-----BEGIN PGP MESSAGE-----", "-----END PGP MESSAGE-----")


def text_blocks(text: str, *, flowed: bool = False, joins: bool = False) -> Iterator[Block]:
    """Yield the blocks of a body.

    Where it is `flowed` (RFC 3676), lines that end with a space go on in the next; with `joins` without that space.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if text.lstrip().startswith(_SIGNED):
        lines = list(_without_seal(lines))
    maker = _BlockMaker()
    for line in _readable(lines, maker):
        quoted = _QUOTED.match(line)
        depth = quoted[0].count(">") if quoted else 0
        rest = line[quoted.end() :] if quoted else line
        if flowed and not quoted and rest.startswith(" "):
            rest = rest[1:]
        yield from maker.line(rest, depth, flowed=flowed, joins=joins)
    yield from maker.end()


def _readable(lines: Iterable[str], maker: _BlockMaker) -> Iterator[str]:
    """Yield the lines that are text: what is encrypted is told and left out, a signature of PGP left out."""
    hidden = sealed = False
    for line in lines:
        if sealed or line.startswith(_SEAL[0]):
            sealed = not line.startswith(_SEAL[1])
            continue
        if line.startswith(_SECRET[0]):
            hidden = True
            maker.ready.append(Remark(text="a text is encrypted (PGP) and left out: decrypt it first", lost=True))
        if not hidden:
            yield line
        elif line.startswith(_SECRET[1]):
            hidden = False
            yield ""


def _without_seal(lines: Iterable[str]) -> Iterator[str]:
    """Yield what was signed, without the signature and its own headers."""
    head = seal = False
    for line in lines:
        if line.startswith(_SIGNED):
            head = True
        elif head:
            head = bool(line.strip())
        elif line.startswith(_SEAL[0]):
            seal = True
        elif seal:
            seal = not line.startswith(_SEAL[1])
        else:
            yield line.removeprefix("- ")


@define(eq=False, repr=False)
class _BlockMaker:
    """Takes the lines of a body, and gives blocks as they are complete."""

    ready: list[Block] = field(factory=list)
    _lines: list[str] = field(factory=list)
    """Of the block at hand; each ends with what stands between it and the next."""
    _depth: int = 0
    _marker: str = ""
    _goes_on: bool = False

    def line(self, text: str, depth: int, *, flowed: bool, joins: bool) -> Iterator[Block]:
        """Take a line of what is quoted so many times."""
        if depth != self._depth:
            yield from self.end()
            self._depth = depth
        if text in _SIGNATURE:
            yield from self.end()
            return
        if not text.strip():
            yield from self.end()
            return
        listed = None if depth or self._goes_on else _LISTED.match(text)
        if listed:
            yield from self.end()
            self._marker, text = listed[1], text[listed.end() :]
        self._goes_on = flowed and text.endswith(" ")
        self._lines += (" ".join(text.split()), self._between(text, joins))

    def _between(self, text: str, joins: bool) -> str:
        if self._goes_on:
            return "" if joins else " "
        return " " if self._marker or len(text) >= _SHORT else "\n"

    def end(self) -> Iterator[Block]:
        """Yield the block at hand, if there is one."""
        yield from self.ready
        text = "".join(self._lines[:-1])
        if text:
            yield self._block(text)
        self.ready, self._lines, self._marker, self._goes_on = [], [], "", False

    def _block(self, text: str) -> Block:
        if self._depth:
            return Quotation(text=text, depth=self._depth)
        return ListItem(text=text, marker=self._marker) if self._marker else Paragraph(text=text)
