"""Markdown of a chat as it comes: what is complete stays, and nothing of a text steers the terminal."""

from __future__ import annotations

import io
import re

from hypothesis import given, strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from nexus_core.cli.chat.markdown_stream import MarkdownStream, split_complete

PARSER = MarkdownIt("commonmark").enable("table")
LINES = st.sampled_from([
    "", "", "para", "---", "===", "- item", "  more", "    code", "1. one", "> quote", "```", "~~~", "# head", "|a|b|",
    "|-|-|", "|1|2|", "<div>", "text\\", "`tick", "**bold",
])  # fmt: skip
TEXTS = st.lists(LINES, max_size=14).map("\n".join)


def kinds(text: str) -> list[str]:
    """Return what the outermost blocks of a text are."""
    return [token.type for token in PARSER.parse(text) if token.level == 0 and token.nesting >= 0]


@given(TEXTS, st.integers(1, 7))
def test_blocks_are_the_same_in_whatever_parts_a_text_comes(text: str, size: int) -> None:
    """What is taken for complete is never a part of what comes."""
    tail, blocks, parts = "", list[str](), list[str]()
    for start in range(0, len(text), size):
        complete, tail = split_complete(PARSER, tail + text[start : start + size])
        if complete:
            parts.append(complete)
            blocks += kinds(complete)
    assert "\n".join([*parts, tail]) == text
    assert blocks + kinds(tail) == kinds(text)


def drawn(*parts: str, height: int = 12) -> str:
    """Return what a terminal is sent for a text that comes in parts, each of which is drawn."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=60, height=height, color_system="standard", emoji=False)
    now = [0.0]
    stream = MarkdownStream(console, lambda: now[0])
    for part in parts:
        stream.add(part)
        now[0] += 1
    stream.end()
    return file.getvalue()


def test_a_block_longer_than_the_screen_is_shown_whole_at_its_end() -> None:
    """While it grows only its last lines are drawn: a screen cannot take back what has scrolled away."""
    lines = [f"line {number:03}" for number in range(100)]
    shown = drawn("```\n", *(f"{line}\n" for line in lines), "```\n")
    frames = shown.split("\x1b[?25h")[0].split("line 099")[0]
    assert max(map(int, re.findall(r"\x1b\[(\d+)A", frames)), default=0) <= 12
    final = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)[-100 * 70 :]
    assert [line for line in lines if line not in final] == []
    assert shown.endswith("\n")


def test_nothing_of_a_text_steers_the_terminal() -> None:
    """Escapes are spelt out, and a link is shown with its address and is no hyperlink."""
    shown = drawn("a \x1b[2J\u202e [here](http://evil.example/\x07) ", "<b>\x9b31m</b>\n\n", "`\x1b]52;c;x\x07`\r\n")
    assert [code for code in ("\x1b[2J", "\u202e", "\x1b]", "\x07", "\x9b") if code in shown] == []
    assert "http://evil.example/" in drawn("[here](http://evil.example/)")
    assert "\x1b]8" not in drawn("[here](http://evil.example/)")


def test_an_answer_of_ten_thousand_characters_is_not_parsed_again_and_again() -> None:
    """Blocks that are complete are printed once: what is sent grows with the text, and not with its square."""
    one = "Some **words** of a paragraph that goes on for a line or two.\n\n"
    short, long = (len(drawn(*[one] * count)) for count in (20, 160))
    assert long < 8 * short * 1.3


def test_pictures_leave_the_processor_time_for_others() -> None:
    """The longer one takes, the rarer they are."""
    now, frames = [0.0], [0]

    class Slow(Console):
        def print(self, *texts: object, **more: object) -> None:
            now[0] += 0.5
            frames[0] += 1

    stream = MarkdownStream(Slow(file=io.StringIO(), force_terminal=True, width=60), lambda: now[0])
    for number in range(2000):
        stream.add(f"paragraph {number}\n\n")
        now[0] += 0.01
    assert frames[0] * 0.5 <= now[0] / 4
    stream.end()
