"""The ends of lines: which hyphens belong to a word, and which only cut it where its line ended.

A cut word is known by the document itself, where it stands in one piece somewhere, or by the words that are one token
of a model's vocabulary: `operate` is one, `pricedetermining` is none, but `price` and `determining` are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from attrs import define, field

from nexus_core.toolkit import token_counter
from nexus_readers.pdf.spans import HYPHEN

_SOFT = "\u00ad"
_HYPHENS = (HYPHEN, "-", "\u2010")
_IN_ADDRESS = "/?&=#_.%~"
_LAST = re.compile(r"[^\W\d_]+$")
_FIRST = re.compile(r"[^\W\d_]+")
_TOKEN = re.compile(r"\S*$")
_WORDS = re.compile(r"[^\W\d_]+(?:[-\u2010\u2011][^\W\d_]+)*")
_ADDRESS = re.compile(r"://|www\.|@|[/\\]")
_AND = frozenset({"and", "or", "to", "und", "oder", "bzw", "bis", "et", "ou", "y", "o", "e", "en", "of"})
_ADDRESS_GOES_ON = re.compile(r"(?:https?://|www\.)\S*[/?&=#_.%~]$")
_NO_SPACES = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u3000-\u303f\uff00-\uffef\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)
_SHORTEST = 3


@define(eq=False)
class LineJoiner:
    """Puts the lines of a paragraph together."""

    texts: Callable[[], Iterable[str]] = field(default=lambda: ())
    """Of the pages around: what words the document has."""
    _words: set[str] | None = None

    def join(self, lines: Iterable[str]) -> str:
        """Return lines as one line of text."""
        pieces: list[str] = []
        for line in lines:
            line = line.strip()
            if pieces and line:
                pieces[-1:] = self._pair(pieces[-1], line)
            elif line:
                pieces.append(line)
        joined = "".join(pieces)
        return joined.replace(HYPHEN, "-").replace(_SOFT, "") if not joined.isascii() else joined

    def _pair(self, left: str, right: str) -> tuple[str, str]:
        """Return two lines so that nothing need stand between them."""
        last = left[-1]
        if last.isalnum() and last < "\u0e00":
            return left + " ", right
        if last == _SOFT:
            return left[:-1], right
        if last in _HYPHENS and len(left) > 1:
            return self._hyphened(left[:-1], right), right
        if last in "\u2014\u2013" and len(left) > 1 and left[-2] not in " \u2014\u2013":
            return (left if last == "\u2014" or right[0].isdigit() else left + " "), right
        if last in _IN_ADDRESS and not right[0].isupper() and _ADDRESS_GOES_ON.search(left[-300:]):
            return left, right
        if _NO_SPACES.match(last) and _NO_SPACES.match(right[0]):
            return left, right
        return left + " ", right

    def _hyphened(self, left: str, right: str) -> str:
        """Return a line that ends with a hyphen, without it here, as it stands before the next one."""
        token = _TOKEN.search(left[-200:])
        before = token.group() if token else ""
        if not before:
            return f"{left}- "
        if before.endswith("-"):
            return f"{left}-"
        begin, end = _LAST.search(before), _FIRST.match(right)
        if begin is None or end is None or _ADDRESS.search(before):
            return f"{left}-"
        first, rest = begin.group(), end.group()
        if rest.lower() in _AND and not right[len(rest) : len(rest) + 1].isalpha() and not self._is_cut(first, rest):
            return f"{left}- "
        if "-" in before or (rest[:1].isupper() and not (first.isupper() and rest.isupper())):
            return f"{left}-"
        if before != first and any(map(str.isdigit, before)):
            return f"{left}-"
        return left if self._is_cut(first, rest) else f"{left}-"

    def _is_cut(self, first: str, rest: str) -> bool:
        """Tell whether a hyphen between letters is there only because the line ended."""
        if len(first) == 1:
            return False
        whole = (first + rest).lower()
        words = self._known()
        if whole in words:
            return True
        if f"{first}-{rest}".lower() in words:
            return False
        if _is_token(whole):
            return True
        long = len(first) >= _SHORTEST and len(rest) >= _SHORTEST
        return not (long and _is_token(first.lower()) and _is_token(rest))

    def _known(self) -> set[str]:
        if self._words is None:
            self._words = set()
            for text in self.texts():
                self._words.update(word.lower() for word in _WORDS.findall(text.replace(HYPHEN, "\n")))
        return self._words


def _is_token(word: str) -> bool:
    return len(word) <= 30 and token_counter("o200k_base").count(" " + word) == 1
