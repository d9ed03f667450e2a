"""Plain text: its titles, pages and lines, logs, and texts on one line."""

from __future__ import annotations

from io import BytesIO

import pytest

from nexus_core import Block, Code, Heading, Item, PageBreak, Paragraph, SourceError
from nexus_core.toolkit import DocumentReader, FileOrigin


def blocks_of(text: str, name: str = "a.txt") -> list[Block]:
    return list(DocumentReader().blocks(BytesIO(text.encode()), FileOrigin(name=name))[1])


def items_of(text: str, name: str = "a.txt") -> list[Item]:
    return list(DocumentReader().items(BytesIO(text.encode()), FileOrigin(name=name)).items)


@pytest.mark.parametrize(
    ("text", "title", "rest"),
    [
        ("The lighthouse\n\nIt is white.\n", "The lighthouse", "It is white."),
        ("Notes\n=====\n\nFirst.\n", "Notes", "First."),
        ("It is white.\n\nAnd tall.\n", "a.txt", "It is white.\n\nAnd tall."),
        ("one line\nof two\n\nmore", "a.txt", "one line\nof two\n\nmore"),
        ("alone\n", "a.txt", "alone"),
    ],
    ids=["title", "underlined", "sentence", "paragraph", "nothing below"],
)
def test_plain_text_is_titled_by_a_line_that_stands_alone(text: str, title: str, rest: str) -> None:
    """The title is not repeated in the text."""
    (item,) = items_of(text)
    assert (item.title, item.text, item.kind) == (title, rest, "text")


TITLES: dict[str, tuple[str, list[tuple[int, str]]]] = {
    "RFC": (
        "Status of This Memo\n\n   This memo goes on\n   for a while.\n\n1.  Introduction\n\n   Text one.\n\n"
        "1.1.  Scope\n\n   Text two.\n\n   o  a list\n\nAppendix A\n\n   Text three.\n",
        [(1, "Status of This Memo"), (2, "1. Introduction"), (3, "1.1. Scope"), (2, "Appendix A")],
    ),
    "manual": (
        "NAME\n       ls - list\n\nDESCRIPTION\n       Lists files.\n\n       More.\n\n   Exit\n       0 is fine.\n",
        [(1, "NAME"), (1, "DESCRIPTION")],
    ),
    "underlined": (
        "Guide\n=====\n\nText.\n\nSetup\n-----\nTurn it on.\n\nEnd\n---\n\nOff.\n",
        [(1, "Guide"), (2, "Setup"), (2, "End")],
    ),
    "contents": ("Words here.\n\n1. Introduction ........ 3\n\n2. Scope      4\n\nText.\n", []),
    "list": ("Shopping needs these.\n\n1. open the door\n\n2. close it\n\nDone.\n", []),
    "verses": ("Tyger, burning bright,\nIn the forests;\n\nWhat immortal eye,\nCould frame it?\n", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "titles"), TITLES.values(), ids=TITLES.keys())
def test_titles_of_plain_documents(text: str, titles: list[tuple[int, str]]) -> None:
    """Underlined, numbered, in capitals, or at the margin of a text that is indented."""
    assert [(block.level, block.text) for block in blocks_of(text) if isinstance(block, Heading)] == titles


def test_form_feeds_are_pages() -> None:
    """The foot of a page of an RFC tells its number, and does not come between sentences."""
    text = "One alder.\n\nFielding                    [Page iv]\n\fRFC 2616      HTTP      June 1999\n\nTwo willow.\n"
    blocks = blocks_of(text)
    assert [(b.number, b.label) for b in blocks if isinstance(b, PageBreak)] == [(1, "iv"), (2, "")]
    assert next((b.text, b.place.line) for b in blocks if isinstance(b, Paragraph)) == ("One alder.", 1)
    assert [item.metadata["page"] for item in items_of("One alder.\fTwo willow.\n")] == [1, 2]


def test_lines_are_counted_by_their_ends() -> None:
    """LF, CRLF and CR end lines; U+2028 and U+0085 do not."""
    blocks = blocks_of("Words, a.\r\n\r\nb\u2028c\u0085d.\r\re.")
    assert [block.place.line for block in blocks if isinstance(block, Paragraph)] == [1, 3, 5]


def test_overstruck_letters_are_one() -> None:
    """As `man` prints them."""
    assert [b.text for b in blocks_of("N\bNA\bA, _\bx.\n") if isinstance(b, Paragraph)] == ["NA, x."]


def test_logs_and_patches_keep_their_lines() -> None:
    """They are of kind `code`."""
    (code,) = (block for block in blocks_of("\n  a  1\n\nb\n", "x.log") if isinstance(block, Code))
    assert (code.text, code.place.line) == ("  a  1\n\nb", 2)
    assert items_of("--- a\n+++ b\n", "x.diff")[0].kind == "code"


@pytest.mark.parametrize("stop", [". ", " ", "。"], ids=["sentences", "none", "Chinese"])
def test_a_transcript_on_one_line_is_cut_into_items_to_open(stop: str) -> None:
    """300 kB are read at once, and the fact in the middle is in an item that a person can read."""
    words = stop.join(f"Speaker {number} said that point {number} was noted" for number in range(6000))
    items = items_of(words.replace("point 3000 was", "the vault code is QX77, and point 3000 was"))
    (item,) = (item for item in items if "QX77" in item.text)
    assert max(len(item.text) for item in items) < 10_000
    assert sum(item.text.count("noted") for item in items) == 6000
    assert "the vault code is QX77" in item.text


def test_a_file_without_a_suffix_is_read_by_its_first_bytes() -> None:
    """A page is a page; what nothing tells is plain text."""
    from nexus_core.toolkit import ReaderRegistry

    registry = ReaderRegistry.installed()
    assert registry.format_of("page", "", b"\xef\xbb\xbf\n<!DOCTYPE HTML><p>") == ".html"
    assert registry.format_of("run", "", b"#!/usr/bin/env python3\n") == ".py"
    assert registry.format_of("talk", "", b"WEBVTT\n\n") == ".vtt"
    assert registry.format_of("notes", "", b"Words") == ".txt"
    assert registry.format_of("page.txt", "", b"<!DOCTYPE html>") == ".txt"


def test_text_with_one_zero_byte_is_not_taken_for_utf16() -> None:
    """A zero byte in a short text makes no Chinese of it: it is refused with a reason, not misread."""
    with pytest.raises(SourceError, match="binary"):
        blocks_of("ab page two\0zero, one")


def test_long_log_is_cut_where_its_lines_end() -> None:
    """Each line of a log stands in one item whole, and the item tells in which line it begins."""
    lines = [f"2024-05-01T10:00:{number % 60:02d}Z INFO request {number} done" for number in range(1000)]
    items = items_of("\n".join(lines), "a.log")
    assert len(items) > 5
    assert [line for item in items for line in item.text.split("\n")] == lines
