"""Counts tokens: exactly where the encoding is known, by an upper estimate where it is not.

Exact counts are added up from those of the pieces between spaces, which are kept: words recur, so a text that was never
seen costs a look-up a word. Estimates are kept by the sentence.
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
_LONG = 2000
"""Characters from which a text is probably made of others that were counted: its sentences are looked up first."""
_PIECES_KEPT = 1 << 17
"""About 15 MB at most; a full table is emptied."""
_NOT_ALONE = 1 << 48
"""In the place of a count, where a piece may share a word with what follows."""
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


class _PieceCounts(dict[str, int]):
    """The tokens of the pieces between spaces, each with what leads to it; they add up to those of the text."""

    def __init__(self, lead: str, count: Callable[[str], int]) -> None:
        super().__init__()
        self._lead, self._count = lead, count

    def __missing__(self, piece: str) -> int:
        # White space at the end of a piece, and between two spaces, is one word with the space that follows.
        tokens = self._count(self._lead + piece) if piece and not piece[-1].isspace() else _NOT_ALONE
        if len(piece) <= _SHORT:
            if len(self) >= _PIECES_KEPT:
                self.clear()
            self[piece] = tokens
        return tokens


class KeptCounts:
    """A counter that keeps the counts of sentences and, where those are exact, of pieces."""

    def __init__(self, name: str, exact: bool, count_piece: Callable[[str], int]) -> None:
        self.name = name
        self.exact = exact
        self._count_piece = count_piece
        self._sentence = lru_cache(_SENTENCES_KEPT)(self._count_sentence)
        self._first = _PieceCounts("", self._count_whole)
        self._later = _PieceCounts(" ", self._count_whole)

    def count(self, text: str) -> int:
        """Return the number of tokens of `text`."""
        if self.exact:
            if len(text) <= _SHORT:
                return self._sentence(text)
            if len(text) < _LONG and (tokens := self._by_pieces(text)) < _NOT_ALONE:
                return tokens
        return self._by_sentences(text, self._sentence)

    def _by_pieces(self, text: str) -> int:
        """Return the tokens of a text, or a number too large where the pieces do not tell."""
        pieces = text.split(" ")
        first = pieces.pop(0)
        if not first and pieces and pieces[0]:
            tokens = 0  # one space leads to the first piece, too
        elif text[:1].isspace():  # more white is counted with the word that it leads to
            words = text.lstrip()
            pieces = words.split(" ")
            tokens = self._first[text[: len(text) - len(words)] + pieces.pop(0)]
        else:
            tokens = self._first[first]
        if pieces and text[-1].isspace():  # nothing follows that it could share a word with
            tokens += self._count_whole(f" {pieces.pop()}")
        return sum(map(self._later.__getitem__, pieces), tokens)

    def _count_sentence(self, text: str) -> int:
        if self.exact and (tokens := self._by_pieces(text)) < _NOT_ALONE:
            return tokens
        return self._count_piece(text)

    def _count_whole(self, text: str) -> int:
        return self._count_piece(text) if len(text) <= _SHORT else self._by_sentences(text, self._count_piece)

    def _by_sentences(self, text: str, count: Callable[[str], int]) -> int:
        found = sentences(text)
        if max(map(len, found)) <= PIECE_LIMIT:
            return sum(map(count, found))
        return sum(count(piece) if len(piece) <= PIECE_LIMIT else self._count_long(piece, count) for piece in found)

    def forget(self) -> None:
        """Keep no counts of texts any more: they are made again. Those of words stay, as in a process that runs."""
        self._sentence.cache_clear()

    def _count_long(self, text: str, count: Callable[[str], int]) -> int:
        return sum(count(piece) + (0 if sure else CUT_SURCHARGE) for piece, sure in short_pieces(text))


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
