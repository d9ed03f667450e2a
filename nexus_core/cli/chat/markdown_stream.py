"""Markdown on a terminal as it comes: blocks that are complete stay as they are, the one that grows is drawn anew."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment

from nexus_core.cli.output.echo import printable

FRAME_S = 0.1
"""Seconds at least between two pictures of the block that grows, and"""
REST = 4
"""at least so many times as long as the last one took: drawing takes at most a fifth of the time."""
_CODE_THEME = "ansi_dark"
"""In the colours of the terminal, on its own background."""


class MarkdownStream:
    """Shows a text that comes in parts; nothing of it steers the terminal, links are shown with their address."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._console = console or Console(highlight=False, emoji=False)
        self._clock = clock
        self._parser = MarkdownIt("commonmark").enable("table")
        self._live: Live | None = None
        self._tail = ""
        self._due = 0.0
        self._has_blocks = False
        self.has_text = False

    def add(self, text: str) -> None:
        """Take some more text."""
        self._tail += printable(text.replace("\r", ""))
        self.has_text = self.has_text or bool(text)
        began = self._clock()
        if began >= self._due:
            self._draw()
            ended = self._clock()
            self._due = ended + max(FRAME_S, REST * (ended - began))

    def end(self) -> None:
        """Show the rest; what comes afterwards is another text."""
        self._stop()
        self._print(self._tail)
        self._tail, self._has_blocks, self.has_text = "", False, False

    def _draw(self) -> None:
        complete, self._tail = split_complete(self._parser, self._tail)
        if self._live is None:
            # `transient`: it is replaced by the whole block.
            self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
            self._live.start()
        self._print(complete)
        self._live.update(_LastLines(self._tail, self._has_blocks), refresh=True)

    def _print(self, text: str) -> None:
        if not text.strip():
            return
        if self._has_blocks:
            self._console.print()
        self._console.print(_markdown(text))
        self._has_blocks = True

    def _stop(self) -> None:
        if self._live is not None:
            self._live.update("", refresh=True)
            self._live.stop()
            self._live = None


class _LastLines:
    """The end of a Markdown text, as much as the screen holds."""

    def __init__(self, text: str, has_blocks: bool) -> None:
        self._text = text
        self._has_blocks = has_blocks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(_markdown(self._text), options, pad=False) if self._text.strip() else []
        if self._has_blocks and lines:
            yield Segment.line()
        for line in lines[-max(1, console.height - 2) :]:
            yield from line
            yield Segment.line()


def split_complete(parser: MarkdownIt, text: str) -> tuple[str, str]:
    """Return the blocks of a text that no further text changes, and the rest: its last block, and a line not whole.

    By its beginning alone a line may be the mark of a list, and be bold text of the block before it once it is there.
    """
    whole = text[: text.rfind("\n") + 1]
    starts = [token.map[0] for token in parser.parse(whole) if token.level == 0 and token.map and token.nesting >= 0]
    if len(starts) < 2:
        return "", text
    lines = text.split("\n")
    return "\n".join(lines[: starts[-1]]), "\n".join(lines[starts[-1] :])


def _markdown(text: str) -> Markdown:
    return Markdown(text, code_theme=_CODE_THEME, hyperlinks=False)
