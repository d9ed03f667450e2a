"""Reads Markdown: sections by its headings, as a CommonMark parser sees them, and the front matter at its start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from typing import Any, BinaryIO

from attrs import frozen

from nexus_core import Block, ReadHints, Remark, component
from nexus_core.toolkit import decode
from nexus_readers.legacy import LONGEST_HEADING, Headed, OldSection, ReadResult, blocks_of, headed_sections

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,20000}?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_MERGE = "tag:yaml.org,2002:merge"
_MAY_HAVE_HEADINGS = re.compile(r"^ {0,3}(?:#{1,6}(?:\s|$)|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
_WORDS = ("text", "text_special", "code_inline", "image")
_ATX = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)(.*)")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)")
_DOUBTFUL = re.compile(
    r"""\ {0,3}(?:=+|-+)[ \t]*$             # the line under a heading, or a rule
    | \ {0,3}<(?!!--[^>]*-->[ \t]*$)        # HTML, but for a comment on a line of its own
    | [ \t]*(?:>|[-+*]|\d{1,9}[.)])[ \t>]*(?:\#|```|~~~|[-+*][ ]|\d+[.)][ ])    # what a list or quotation holds
    | (?:\ {1,3}|[ \t]{4,})(?:\#{1,6}(?:\s|$)|```|~~~)
    """,
    re.VERBOSE,
)
_CODE_SPAN = re.compile(r"(?<!`)`([^`\\*_\[\]<>&!]+)`(?!`)")
_MARKUP = re.compile(r"[\\`*_\[\]<>&!]")
_NAME = re.compile(r"\{#([\w.:-]+)[^}]*\}")
_NO_HEADING = re.compile(r"\[[^\]\n]{1,200}\]:|.*\n *\|?[ \t]*:?-", re.DOTALL)
"""What a rule stands under that underlines nothing: the address of a link, or a table."""
_LONGEST_PARSED = 1000
"""Characters of a heading whose markup is looked at."""
_MOST_METADATA = 1000
"""Characters of values of the front matter, which each item repeats."""
_MOST_TAGS = 50


@frozen(repr=False)
class _Heading:
    level: int
    text: str
    anchor: str
    first: int
    """The line it begins in, from 0."""
    after: int
    """The line after it."""


def read(text: str) -> ReadResult:
    """Return a Markdown document with its sections."""
    named, tags, metadata, skipped = _front_matter(text)
    lines = text.split("\n")
    body = "\n".join([""] * skipped + lines[skipped:])  # blank lines in its place keep the line numbers true
    headings = _headings(body) if _MAY_HAVE_HEADINGS.search(body) else ()
    title = _title(headings) or named
    return ReadResult(
        text=_without_title(lines, skipped, headings),
        sections=tuple(_sections(lines, skipped, headings)),
        title=title,
        kind="markdown",
        tags=tags,
        metadata=metadata,
    )


def _title(headings: tuple[_Heading, ...]) -> str:
    """Return the first heading if it stands above all others."""
    first_level = [heading for heading in headings if heading.level == 1]
    return first_level[0].text if len(first_level) == 1 and first_level[0] is headings[0] else ""


def _without_title(lines: list[str], skipped: int, headings: tuple[_Heading, ...]) -> str:
    begin = skipped
    if headings and _title(headings) and not any(line.strip() for line in lines[skipped : headings[0].first]):
        begin = headings[0].after
    return "\n".join(lines[begin:]).strip("\n")


def _sections(lines: list[str], skipped: int, headings: tuple[_Heading, ...]) -> Iterator[OldSection]:
    ends = [*(heading.first for heading in headings), len(lines)]
    before = "\n".join(lines[skipped : ends[0]])
    if before.strip():
        yield OldSection(text=before.strip("\n"), line=skipped + 1)
    yield from headed_sections(
        [
            Headed(
                level=heading.level,
                heading=heading.text,
                text="\n".join(lines[heading.after : end]),
                anchor=heading.anchor,
                line=heading.first + 1,
            )
            for heading, end in zip(headings, ends[1:], strict=True)
        ]
    )


@lru_cache(maxsize=1)
def _parsers() -> tuple[Any, Any]:
    """Return the parser of a document's headings and that of the words of one."""
    # Imported with the first document that has a heading.
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock, blockquote

    def quotation(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        if not silent and state.src.startswith(">", state.bMarks[start] + state.tShift[start]):
            end = _end_of_quotation(state, start, end)
        return blockquote(state, start, end, silent)

    # Headings alone are wanted: what stands inside the paragraphs need not be parsed. Tables and the addresses of links
    # take the parser a time that grows with the square of their size.
    parser = MarkdownIt("commonmark").disable(["inline", "reference"])
    parser.block.ruler.at("blockquote", quotation, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser, MarkdownIt("commonmark")


def _end_of_quotation(state: Any, start: int, end: int) -> int:
    """Return the line before which a quotation is over, at the latest: a `>` after lines without one begins the next.

    markdown-it looks through all that could belong to a quotation before it reads its first line, and does so again at
    each `>` of what did not.
    """
    lazy = False
    for line in range(start + 1, end):
        place = state.bMarks[line] + state.tShift[line]
        if place >= state.eMarks[line]:
            return line
        is_marked = state.src[place] == ">"
        if is_marked and lazy:
            return line
        lazy = lazy or not is_marked
    return end


def _headings(text: str) -> tuple[_Heading, ...]:
    scanned = _scanned(text.split("\n"))
    return _parsed(text) if scanned is None else scanned


def _scanned(lines: list[str]) -> tuple[_Heading, ...] | None:
    """Return the headings of a document that is plain enough to be read line by line, `None` for any other.

    Most are, and the parser takes longer to import than a pipeline to load. What makes a line doubtful: an underlined
    heading, HTML beyond one comment a line, and a `#` or a fence inside a list or quotation.
    """
    found = []
    fence = ""
    for number, line in enumerate(lines):
        if fence:
            closing = _FENCE.match(line)
            if closing and closing[1].startswith(fence) and not closing[2].strip():
                fence = ""
        elif _DOUBTFUL.match(line):
            return None
        elif opening := _FENCE.match(line):
            fence = opening[1]
        elif heading := _ATX.match(line):
            words, name = _named(_opened(heading[2]))
            found.append(_Heading(len(heading[1]), _plain(words), name, number, number + 1))
    return tuple(heading for heading in found if heading.text)


def _parsed(text: str) -> tuple[_Heading, ...]:
    found = []
    for opening, inline in pairwise(_parsers()[0].parse(text)):
        if opening.type == "heading_open" and opening.level == 0:
            if opening.markup[:1] in "=-" and _NO_HEADING.match(inline.content):
                continue
            words, name = _named(inline.content)
            first, after = opening.map
            found.append(_Heading(int(opening.tag[1:]), _plain(words), name, first, after))
    return tuple(heading for heading in found if heading.text)


def _opened(content: str) -> str:
    """Return what a heading says, without the marks that close it."""
    content = content.strip(" \t")
    bare = content.rstrip("#")
    return bare.rstrip(" \t") if not bare or bare[-1] in " \t" else content


def _named(content: str) -> tuple[str, str]:
    """Return a heading without the name of its place, and that: `# Words {#name}`."""
    content = content.strip()
    begin = content.rfind("{#") if content.endswith("}") else -1
    named = _NAME.fullmatch(content, begin) if begin >= 0 else None
    return (content[:begin].rstrip(), named[1]) if named else (content, "")


def _plain(content: str) -> str:
    """Return the words of a heading without its markup."""
    content = _CODE_SPAN.sub(r"\1", content)
    if not _MARKUP.search(content) or len(content) > _LONGEST_PARSED:
        return " ".join(content.split())
    (inline,) = _parsers()[1].parseInline(content)
    words = [
        token.content if token.type in _WORDS else " " if token.type.endswith("break") else ""
        for token in inline.children or ()
    ]
    return " ".join("".join(words).split())


def _front_matter(text: str) -> tuple[str, tuple[str, ...], dict[str, Any], int]:
    """Return title, tags and metadata out of the front matter, and its lines; what is no YAML mapping is text."""
    match = _FRONT_MATTER.match(text)
    if match is None or ":" not in (match[1] or ""):
        return "", (), {}, 0
    values = _values_of(match[1])
    if values is None:
        return "", (), {}, 0
    tags = values.get("tags") or ()
    tags = tags.replace(",", " ").split() if isinstance(tags, str) else tags if isinstance(tags, list) else ()
    plain = [str(tag)[:LONGEST_HEADING] for tag in tags[:_MOST_TAGS] if isinstance(tag, str | int | float)]
    title = _json(values.get("title"))
    return (
        "" if title is None else str(title),
        tuple(plain),
        _metadata(values),
        match[0].count("\n") + (not match[0].endswith("\n")),
    )


def _values_of(text: str) -> Mapping[Any, Any] | None:
    """Return the mapping that the YAML of a front matter writes, `None` where it is no YAML or no mapping."""
    import yaml  # only documents with a front matter pay for it

    class Loader(yaml.SafeLoader):
        """A list of aliases under `<<` doubles a mapping with each line, so a page could take hours: it is left out."""

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            """Leave merge keys out instead of copying what they name."""
            node.value = [(key, value) for key, value in node.value if key.tag != _MERGE]

    try:
        values = yaml.load(text, Loader)  # a SafeLoader: it makes plain values only
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return values if isinstance(values, Mapping) else None


def _metadata(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the plain values but title and tags, as far as there is room for them."""
    found: dict[str, Any] = {}
    left = _MOST_METADATA
    for key, value in values.items():
        plain = _json(value) if key not in ("title", "tags") and isinstance(key, str | int | float | date) else None
        left -= 0 if plain is None else len(str(key)) + len(str(plain))
        if plain is not None and left >= 0:
            found[str(key)] = plain
    return found


def _json(value: Any) -> str | int | float | bool | None:
    """Return a plain value as JSON has it, and None for what is none: nested values are left alone."""
    if isinstance(value, date):
        return value.isoformat()
    if (isinstance(value, float) and not isfinite(value)) or (isinstance(value, int) and abs(value) >= 1 << 63):
        return None
    return value if isinstance(value, (str, int, float)) else None


@component
class MarkdownReader:
    """Reads markdown."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        decoded = decode(file.read(), hints.default_encoding)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        yield from blocks_of(read(decoded.text))
