"""Lines that a person types, or a pipe holds: with line editing and a history where there is readline, and multi-line.

A backslash at the end of a line goes on with the next one; a text that begins with three quotes goes on to the next
three.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_state_path

from nexus_core.cli.output.echo import echo
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    import readline
else:
    readline = LazyModule("readline")  # once it is imported, `input` lets lines be edited

QUOTES = '"""'
PROMPT, MORE = "> ", "... "
HISTORY_LINES = 1000


class PromptInput:
    """Reads what is asked, one question at a time."""

    def __init__(self, history: Path | None = None) -> None:
        """Take the file of the lines of earlier chats; by default one in the user's own folder for state."""
        self.is_interactive = sys.stdin is not None and sys.stdin.isatty()
        self._edits = self.is_interactive and sys.stdout.isatty()
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # a byte that is no text is not the end of the chat
        self._file = history or user_state_path("contextnexus", appauthor=False) / "chat_history"
        self._remembers = self._edits and find_spec("readline") is not None  # Windows has none
        if self._remembers:
            readline.set_history_length(HISTORY_LINES)
            with suppress(OSError):  # there is none yet, or it is not ours to read
                readline.read_history_file(self._file)

    def read(self) -> str:
        """Return the next question; raises EOFError at the end of the input, KeyboardInterrupt at Ctrl-C."""
        text = self._line(PROMPT)
        if text.lstrip().startswith(QUOTES):
            return self._quoted(text.lstrip().removeprefix(QUOTES))
        while text.endswith("\\"):
            text = text[:-1] + "\n" + self._more("")
        return text.strip()

    def keep_history(self) -> None:
        """Write the lines of this chat to the file of the history, which only its owner may read."""
        if not self._remembers:
            return
        with suppress(OSError):  # a folder that cannot be written to costs the history alone
            self._file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(self._file)

    def _quoted(self, text: str) -> str:
        while QUOTES not in text:
            text += "\n" + self._more(QUOTES)
        return text.partition(QUOTES)[0].strip()

    def _more(self, otherwise: str) -> str:
        """Return the next line of a text; the end of the input is the end of the text."""
        try:
            return self._line(MORE)
        except EOFError:
            return otherwise

    def _line(self, prompt: str) -> str:
        if self._edits:
            return input(prompt)
        if self.is_interactive:  # stdout goes elsewhere, and is the answer's alone
            echo(prompt, err=True, nl=False)
        line = sys.stdin.readline() if sys.stdin is not None else ""
        if not line:
            raise EOFError
        return line.removesuffix("\n").removesuffix("\r")
