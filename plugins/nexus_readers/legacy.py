"""What the readers made of a file before there were blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from nexus_core import Block, Code, Heading, Metadata, PageBreak, Paragraph, Place
from nexus_core.toolkit import shortened

LONGEST_HEADING = 200
DEEPEST = 6


@frozen(kw_only=True, repr=False)
class OldSection:
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
    sections: tuple[OldSection, ...] = ()
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


def headed_sections(parts: Sequence[Headed]) -> Iterator[OldSection]:
    """Yield the sections under some headings; one with nothing under it, not even other headings, stands for itself."""
    paths = nested((part.level, part.heading) for part in parts)
    following = [*(part.level for part in parts[1:]), 0]
    for part, path, next_level in zip(parts, paths, following, strict=False):
        text = part.text if part.text.strip() or next_level > part.level else part.heading
        if len(part.heading) > LONGEST_HEADING and text is not part.heading:
            text = "\n\n".join([part.heading, text.strip("\n")])  # the path has only its beginning
        if text.strip():
            yield OldSection(text=text.strip("\n"), headings=path, anchor=part.anchor, line=part.line, links=part.links)


def nested(headings: Iterable[tuple[int, str]]) -> Iterator[tuple[str, ...]]:
    """Yield for each (level, heading) its path: the headings above it, from the outermost, and itself."""
    above: list[tuple[int, str]] = []
    for written, heading in headings:
        level = min(written, DEEPEST)
        above = [(other, name) for other, name in above if other < level]
        above.append((level, shortened(heading)))
        yield tuple(name for _, name in above)


def blocks_of(result: ReadResult) -> Iterator[Block]:
    """Yield the blocks of what was read."""
    yield Metadata(title=result.title, tags=result.tags, values=result.metadata)
    path: tuple[str, ...] = ()
    page = None
    for section in result.sections:
        if section.page is not None and section.page != page and not section.headings:
            page = section.page
            yield PageBreak(number=page)
        place = Place(line=section.line, page=section.page)
        if section.headings:
            shared = len(path) if section.headings[: len(path)] == path else 0
            for level in range(
                max(1, shared + 1 if shared < len(section.headings) else len(section.headings)),
                len(section.headings) + 1,
            ):
                yield Heading(
                    text=section.headings[level - 1],
                    level=level,
                    anchor=section.anchor,
                    place=place,
                    implied=result.kind == "code",
                )
            path = section.headings
        if result.kind == "code":
            yield Code(text=section.text, place=place)
        else:
            yield Paragraph(text=section.text, links=section.links, place=place)
