"""What all readers of text begin with: the characters of the file, and what was doubtful about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from attrs import frozen

from nexus_core import ReadHints, Remark
from nexus_core.toolkit import decode

_PICTURE = re.compile(
    r"data:(?:image|application|font|audio|video)\\?/[\w.+-]{1,80}(?:;base64,[\w+/=%\\-]{40,}|[;,][^\s)\"'>\]]{40,})"
    r"(?:\n[ \t]*[A-Za-z0-9+/=]{40,}(?![^\s)\"'>\]]))*(?:\n[ \t]*[A-Za-z0-9+/]{2,}={1,2}(?![^\s)\"'>\]]))?",
    re.IGNORECASE,
)
_NO_CONTENT = "data:…"


@frozen
class SourceText:
    """The text of a file."""

    text: str
    problem: str = ""

    def remarks(self) -> Iterator[Remark]:
        """Yield what was doubtful."""
        if self.problem:
            yield Remark(text=self.problem)


def read_text(file: BinaryIO, hints: ReadHints) -> SourceText:
    """Return the text of a file by its charset, without pictures that are written into it."""
    decoded = decode(file.read(), hints.default_encoding, hints.encoding)
    return SourceText(_without_pictures(decoded.text), decoded.problem)


def one_line(lines: Iterable[str]) -> str:
    """Return lines of prose as one."""
    return " ".join(" ".join(lines).split())


def _without_pictures(text: str) -> str:
    """Return a text without the content of pictures that are written into it as `data:`: it is no text."""
    if "data:" not in text and "DATA:" not in text:
        return text
    return _PICTURE.sub(lambda found: _NO_CONTENT + "\n" * found[0].count("\n"), text)


def dedented(lines: Iterable[str]) -> str:
    """Return lines of code without the indentation that all of them have, and without blank ones around."""
    held = list(lines)
    indent = min((len(line) - len(line.lstrip()) for line in held if line.strip()), default=0)
    return "\n".join(line[indent:].rstrip() for line in held).strip("\n")
