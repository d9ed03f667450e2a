"""Text of a document with its lines: between places of lint, positions of the protocol, and indexes."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Literal

from attrs import field, frozen

Encoding = Literal["utf-8", "utf-16", "utf-32"]
ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")

_LINE_END = re.compile(r"\r\n|\r|\n")
_WORD = re.compile(r"(?:[^\s,\[\]{}:#]|:(?!\s|$)|(?<=\S)#|[ \t]++(?![\s,\[\]{}:#]|$))*+")
_QUOTED = re.compile(r"""'(?:[^'\r\n]|'')*+'|"(?:[^"\\\r\n]|\\[^\r\n])*+\"""")


@frozen(eq=False, repr=False)
class DocumentText:
    """The text of a document; positions count in the units of the encoding that server and editor agreed on."""

    text: str
    encoding: Encoding = "utf-16"
    """What one unit of a column is a unit of."""
    starts: tuple[int, ...] = field(init=False)
    """Where the lines begin; they end as lint has them end, in CR, LF or both, and in nothing else."""

    def __attrs_post_init__(self) -> None:
        starts = (0, *(match.end() for match in _LINE_END.finditer(self.text)))
        object.__setattr__(self, "starts", starts)

    def line(self, number: int) -> str:
        """Return a line, from 0, without its end; empty where there is none."""
        if not 0 <= number < len(self.starts):
            return ""
        end = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.text)
        return self.text[self.starts[number] : end].rstrip("\r\n")

    def index(self, line: int, character: int) -> int:
        """Return the index of a position of the protocol; one that is outside of the text is the nearest inside."""
        if line >= len(self.starts):
            return len(self.text)
        content, units = self.line(line), 0
        for place, char in enumerate(content):
            if units >= character:
                return self.starts[line] + place
            units += self._units(char)
        return self.starts[line] + len(content)

    def index_of_place(self, line: int, column: int) -> int:
        """Return the index of a place of lint, whose lines and columns are counted from 1, in characters."""
        if line > len(self.starts):
            return len(self.text)
        mark = line == 1 and self.text.startswith("\ufeff")  # which lint does not count
        return min(self.starts[max(line, 1) - 1] + max(column, 1) - 1 + mark, len(self.text))

    def position(self, index: int) -> tuple[int, int]:
        """Return the line and the column of an index as the protocol counts them, from 0 and in units."""
        line = bisect_right(self.starts, index) - 1
        return line, sum(map(self._units, self.text[self.starts[line] : index]))

    def word_end(self, index: int) -> int:
        """Return where the value or key ends that begins at an index, on its line: what an editor underlines."""
        quoted = _QUOTED.match(self.text, index)
        if quoted is not None:
            return quoted.end()
        if self.text[index : index + 1] in ("{", "[", "|", ">", "-"):
            return index + 1
        word = _WORD.match(self.text, index)
        return index if word is None else word.end()

    def _units(self, char: str) -> int:
        if self.encoding == "utf-16":
            return 2 if char > "\uffff" else 1
        return len(char.encode("utf-8", "surrogatepass")) if self.encoding == "utf-8" else 1
