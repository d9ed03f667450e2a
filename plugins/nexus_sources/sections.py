"""What a reader makes of a file: a document, and the sections it falls into. And how a long text is cut into parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from attrs import field, frozen

_FENCE = re.compile(r" {0,3}(?:```|~~~)")
_NO_SLUG = re.compile(r"[^\w\- ]+")


@frozen(kw_only=True, repr=False)
class Section:
    """A stretch of a document under one heading, without the heading itself."""

    text: str
    headings: tuple[str, ...] = ()
    """From the outermost to its own; empty for what stands before the first heading."""
    anchor: str = ""
    """The name by which a link reaches it, where the document gives one."""
    line: int | None = None
    """In the file, from 1: where its heading, or else its text, begins."""
    page: int | None = None
    """From 1."""
    links: tuple[str, ...] = ()
    """Where it leads to, as it is written; of Markdown they are found in the text."""


@frozen(kw_only=True, repr=False)
class Document:
    """A file as its reader understands it."""

    text: str
    """The whole."""
    sections: tuple[Section, ...] = ()
    title: str = ""
    """What it calls itself; empty where it does not."""
    kind: str = "text"
    """Of the items made from it."""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True, repr=False)
class Headed:
    """A heading and the text up to the next one."""

    level: int
    heading: str
    text: str
    anchor: str = ""
    line: int | None = None
    links: tuple[str, ...] = ()


def headed_sections(parts: Sequence[Headed]) -> Iterator[Section]:
    """Yield the sections under some headings; one with nothing under it, not even other headings, stands for itself."""
    paths = nested((part.level, part.heading) for part in parts)
    following = [*(part.level for part in parts[1:]), 0]
    for part, path, next_level in zip(parts, paths, following, strict=False):
        text = part.text if part.text.strip() or next_level > part.level else part.heading
        if text.strip():
            yield Section(text=text.strip("\n"), headings=path, anchor=part.anchor, line=part.line, links=part.links)


def slug(heading: str) -> str:
    """Return a heading as hosts of Markdown write it in a link: `Sick leave?` becomes `sick-leave`."""
    return _NO_SLUG.sub("", heading.strip().lower()).replace(" ", "-")


def nested(headings: Iterable[tuple[int, str]]) -> Iterator[tuple[str, ...]]:
    """Yield for each (level, heading) its path: the headings above it, from the outermost, and itself."""
    above: list[tuple[int, str]] = []
    for level, heading in headings:
        above = [(other, name) for other, name in above if other < level]
        above.append((level, heading))
        yield tuple(name for _, name in above)


def block_starts(lines: list[str]) -> list[int]:
    """Return the indices of the lines after a blank one, fences of Markdown kept whole."""
    starts, fenced, blank = [0], False, False
    for number, line in enumerate(lines):
        if blank and not fenced and line.strip() and number:
            starts.append(number)
        if _FENCE.match(line):
            fenced = not fenced
        blank = not line.strip()
    return starts


def cut(lines: list[str], starts: list[int], size: int) -> list[tuple[int, int]]:
    """Return spans of lines of about `size` characters at most, cut at `starts`; a longer block is cut at any line."""
    total = [0, *accumulate(len(line) + 1 for line in lines)]
    pieces: list[tuple[int, int]] = []
    for first, last in _blocks(starts, total, size):
        if pieces and total[last] - total[pieces[-1][0]] <= size:
            pieces[-1] = (pieces[-1][0], last)
        else:
            pieces.append((first, last))
    if len(pieces) > 1 and total[pieces[-1][1]] - total[pieces[-1][0]] < size // 8:
        pieces[-2:] = [(pieces[-2][0], pieces[-1][1])]  # a crumb at the end is no part of its own
    return pieces


def _blocks(starts: list[int], total: list[int], size: int) -> Iterator[tuple[int, int]]:
    for first, last in pairwise((*starts, len(total) - 1)):
        begin = first
        for number in range(first + 1, last + 1):
            if total[number] - total[begin] > size and number - 1 > begin:
                yield begin, number - 1
                begin = number - 1
        if begin < last:
            yield begin, last
