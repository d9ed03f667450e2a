"""Counts tokens: exactly where the encoding is known, by an upper estimate where it is not.

Counts of sentences are kept, so a prompt made of text that was counted before costs a look-up a sentence.
Loading costs nothing until the first count, and milliseconds then: see docs/explanation/tokens.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from nexus_core.toolkit.suggest import did_you_mean, listed
from nexus_core.toolkit.tokens.splitting import PIECE_LIMIT, sentences, short_pieces

CUT_SURCHARGE = 16
"""Tokens added for each place where a run of over `PIECE_LIMIT` characters had to be cut inside a word.

Cutting can hide tokens: the parts may take fewer than the whole. A million random runs and a hill climb over words of
the vocabularies found 6 at most."""

# At most a thousand characters each: 32 MB of ASCII when somebody makes it so, 6 MB of ordinary prose.
_SENTENCES_KEPT = 1 << 15
_SHORT = 64
"""Texts of so many characters, such as words and roles, are not cut."""
_EXACT = ("o200k_base", "cl100k_base")
_APPROXIMATE = "approximate"


class TokenCounter(Protocol):
    """Counts the tokens of a text.

    Exact counts add up, `count(a + b) == count(a) + count(b)`, where `a` ends with a line break and `b` starts with a
    character that is neither white nor `/`, and where `a` ends with a character that is not white and `b` starts with a
    space. Estimates of the parts are never less than that of the whole.
    """

    name: str
    """As in `ModelInfo.encoding`."""
    exact: bool
    """Whether it counts what the model counts; otherwise it estimates, on the safe side."""

    def count(self, text: str) -> int:
        """Return the number of tokens, never too low for an exact counter, in time linear in the text."""


class KeptCounts:
    """A counter that cuts text into sentences and keeps their counts."""

    def __init__(self, name: str, exact: bool, count_piece: Callable[[str], int]) -> None:
        self.name = name
        self.exact = exact
        self._sentence = lru_cache(_SENTENCES_KEPT)(count_piece)

    def count(self, text: str) -> int:
        """Return the number of tokens of `text`."""
        if len(text) <= _SHORT and self.exact:
            return self._sentence(text)
        found = sentences(text)
        if max(map(len, found)) <= PIECE_LIMIT:
            return sum(map(self._sentence, found))
        return sum(self._sentence(piece) if len(piece) <= PIECE_LIMIT else self._count_long(piece) for piece in found)

    def forget(self) -> None:
        """Keep no counts any more: they are made again."""
        self._sentence.cache_clear()

    def _count_long(self, text: str) -> int:
        total = 0
        for piece, sure in short_pieces(text):
            total += self._sentence(piece) + (0 if sure else CUT_SURCHARGE)
        return total


def encodings() -> tuple[str, ...]:
    """Return the names that `token_counter` knows."""
    return (*_EXACT, _APPROXIMATE)


@lru_cache
def token_counter(encoding: str) -> TokenCounter:
    """Return the counter of an encoding, the same object each time; raises `ValueError` on an unknown name."""
    if encoding == _APPROXIMATE:
        from nexus_core.toolkit.tokens.estimate import estimate

        return KeptCounts(encoding, exact=False, count_piece=estimate)
    if encoding not in _EXACT:
        hint = did_you_mean(encoding, encodings())
        raise ValueError(f"there is no encoding {encoding!r}{hint}: known are {listed(encodings())}")
    return KeptCounts(encoding, exact=True, count_piece=_exact_count(encoding))


def _exact_count(encoding: str) -> Callable[[str], int]:
    """Return a counting function that reads its file at the first call: many a counter is made and never asked."""
    return lambda text: _load_exact(encoding)(text)


@lru_cache
def _load_exact(encoding: str) -> Callable[[str], int]:
    from nexus_core.toolkit.tokens.exact import ExactCounter

    return ExactCounter(encoding).count
