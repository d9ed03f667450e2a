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
        joined = ""
        for line in lines:
            joined = self.pair(joined, line.strip()) if joined else line.strip()
        return joined.replace(HYPHEN, "-").replace(_SOFT, "")

    def pair(self, left: str, right: str) -> str:
        """Return two lines as one."""
        if not right:
            return left
        if left.endswith(_SOFT):
            return left[:-1] + right
        if left.endswith((HYPHEN, "-", "\u2010")) and len(left) > 1:
            return self._hyphened(left[:-1], right)
        if left.endswith(("\u2014", "\u2013")) and len(left) > 1 and left[-2] not in " \u2014\u2013":
            return left + right if left[-1] == "\u2014" or right[0].isdigit() else f"{left} {right}"
        if _ADDRESS_GOES_ON.search(left[-300:]) and not right[0].isupper():
            return left + right
        if _NO_SPACES.match(left[-1]) and _NO_SPACES.match(right[0]):
            return left + right
        return f"{left} {right}"

    def _hyphened(self, left: str, right: str) -> str:
        token = _TOKEN.search(left[-200:])
        before = token.group() if token else ""
        if not before or before.endswith("-"):
            return f"{left}- {right}" if not before else f"{left}-{right}"
        begin, end = _LAST.search(before), _FIRST.match(right)
        if begin is None or end is None or _ADDRESS.search(before):
            return f"{left}-{right}"
        first, rest = begin.group(), end.group()
        if rest.lower() in _AND and not right[len(rest) : len(rest) + 1].isalpha() and not self._is_cut(first, rest):
            return f"{left}- {right}"
        if "-" in before or (rest[:1].isupper() and not (first.isupper() and rest.isupper())):
            return f"{left}-{right}"
        if before != first and any(map(str.isdigit, before)):
            return f"{left}-{right}"
        return left + right if self._is_cut(first, rest) else f"{left}-{right}"

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
