"""What a reader makes of a file: a document, and the sections it falls into. And how a long text is cut into parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from attrs import field, frozen

LONGEST_SLUG = 80
"""Characters of an anchor: long enough to tell headings apart, short enough for an id."""
LONGEST_HEADING = 200
"""Characters of a heading in titles and paths, which each section under it repeats."""
DEEPEST = 6
"""The levels of headings; what is deeper is a sibling of the sixth."""

_FENCE = re.compile(r" {0,3}(?:```|~~~)")
_NO_SLUG = re.compile(r"[^\w\- ]+")


@frozen(kw_only=True, repr=False)
class ReadSettings:
    """How files are read."""

    encoding: str = "utf-8"
    max_bytes: int = 20_000_000
    sections: bool = True
    links: bool = False
    """Items tell in their metadata where they link to."""


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
class ReadResult:
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
        if len(part.heading) > LONGEST_HEADING and text is not part.heading:
            text = "\n\n".join([part.heading, text.strip("\n")])  # the path has only its beginning
        if text.strip():
            yield Section(text=text.strip("\n"), headings=path, anchor=part.anchor, line=part.line, links=part.links)


def slug(heading: str) -> str:
    """Return a heading as hosts of Markdown write it in a link: `Sick leave?` becomes `sick-leave`.

    It has at most 80 characters, whatever the heading.
    """
    return anchored(_NO_SLUG.sub("", heading[: 4 * LONGEST_SLUG].strip().lower()).replace(" ", "-"))


def anchored(name: str) -> str:
    """Return the name of a place in a document as ids and links have it: its first 80 characters."""
    return name if len(name) <= LONGEST_SLUG else name[:LONGEST_SLUG].rstrip("-")


def shortened(heading: str) -> str:
    """Return a heading as titles and paths have it: its first 200 characters."""
    return heading if len(heading) <= LONGEST_HEADING else heading[: LONGEST_HEADING - 1].rstrip() + "…"


def nested(headings: Iterable[tuple[int, str]]) -> Iterator[tuple[str, ...]]:
    """Yield for each (level, heading) its path: the headings above it, from the outermost, and itself."""
    above: list[tuple[int, str]] = []
    for written, heading in headings:
        level = min(written, DEEPEST)
        above = [(other, name) for other, name in above if other < level]
        above.append((level, shortened(heading)))
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
