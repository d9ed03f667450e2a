"""Footnotes of formats that keep them elsewhere: each comes after the block that has its mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, MutableMapping

from nexus_core import Block, Footnote, Place, Table

_MARK = re.compile(r"\[\^([^\[\]\s]{1,100})\]")

Notes = MutableMapping[str, tuple[str, Place]]
"""What the notes say and where they stand, by their marks."""


def with_notes(blocks: Iterable[Block], notes: Notes) -> Iterator[Block]:
    """Yield blocks with their notes, taken out of `notes`; those that nothing refers to come last."""
    for block in blocks:
        yield block
        if notes:
            yield from _after(texts_of(block), notes)
    for mark in list(notes):
        if mark in notes:
            text, place = notes.pop(mark)
            yield Footnote(mark=mark, text=text, place=place)
            yield from _after([text], notes)


def texts_of(block: Block) -> Iterable[str]:
    """Return the texts of a block in which marks of notes may stand."""
    if isinstance(block, Table):
        return (cell for row in (block.header, *block.rows) for cell in row)
    return (getattr(block, "text", ""),)


def _after(texts: Iterable[str], notes: Notes) -> Iterator[Block]:
    waiting = list(texts)
    while waiting:
        text = waiting.pop(0)
        for found in _MARK.finditer(text) if "[^" in text else ():
            if found[1] in notes:
                note, place = notes.pop(found[1])
                yield Footnote(mark=found[1], text=note, place=place)
                waiting.append(note)


class ListDepths:
    """How deep the items of a list are, by how far they are indented."""

    def __init__(self) -> None:
        self._indents: list[int] = []

    def depth(self, indent: int) -> int:
        """Return the depth of an item, from 1."""
        while self._indents and self._indents[-1] > indent:
            self._indents.pop()
        if not self._indents or self._indents[-1] < indent:
            self._indents.append(indent)
        return len(self._indents)

    def leave(self) -> None:
        """Forget the list."""
        self._indents.clear()
