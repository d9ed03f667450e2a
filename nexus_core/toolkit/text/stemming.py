"""From text to the words that are compared: lower case, no stop words, stemmed; identifiers also in their parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Generic, Literal, TypeVar, get_args

LONGEST_PIECE = 64
"""In characters; what is longer is not remembered."""
PIECES_KEPT = 1 << 17
"""In each table: for the stems of one language about 50 MB at most."""

# A number keeps its points and commas; a possessive s belongs to no word; a run of over 64 letters is data and comes
# in several words, so that no word can grow with the text.
WORD = re.compile(r"(\d{1,32}(?:[.,]\d{1,32}){1,8}|\w{1,64})(?:['’][sS]\b)?")

_Value = TypeVar("_Value")


def pieces(text: str) -> list[str]:
    """Return `text` cut at white space, as `stems` wants it: a piece longer than 64 characters comes as its words."""
    found = text.split()
    if max(map(len, found), default=0) <= LONGEST_PIECE:
        return found
    return [short for piece in found for short in ([piece] if len(piece) <= LONGEST_PIECE else WORD.findall(piece))]


class PieceTable(dict[str, _Value], Generic[_Value]):
    """The values of the pieces met so far, computed by `compute`; a full table is emptied."""

    def __init__(
        self, compute: Callable[[str], _Value], join: Callable[[str, Sequence[_Value]], _Value] | None = None
    ) -> None:
        """Take what computes a value, and what joins those of the words of a piece that is too long to be kept."""
        super().__init__()
        self._compute, self._join = compute, join

    def __missing__(self, piece: str) -> _Value:
        if self._join is not None and len(piece) > LONGEST_PIECE:
            return self._join(piece, [self[short] for short in pieces(piece)])
        value = self._compute(piece)
        if len(self) >= PIECES_KEPT:
            self.clear()
        self[piece] = value
        return value


Language = Literal[
    "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german", "greek",
    "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "porter", "portuguese",
    "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish", "none",
]  # fmt: skip
"""The Snowball stemmers by name; `none` compares words as they are written, but for case."""

LANGUAGES: tuple[str, ...] = get_args(Language)

_ENGLISH_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was
will with
"""
STOP_WORDS = frozenset(_ENGLISH_STOP_WORDS.split())
"""The 33 words that Lucene's English analysis leaves out. Texts in other languages keep all their words."""

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z_\d]+|\d+")
_MIXED_CASE = re.compile(r"[^\W\d_A-Z][A-Z]|[A-Z]{2}[a-z]")


def stems(piece: str, language: str = "english") -> tuple[str, ...]:
    """Return what a piece of text is compared by, in order: stems without stop words, parts after their whole.

    A piece has no white space in it and at most 64 characters.
    """
    return stem_table(language)[piece]


@lru_cache(maxsize=len(LANGUAGES))
def stem_table(language: str) -> PieceTable[tuple[str, ...]]:
    """Return the stems of pieces in a language, as `stems` does: for those who look up many."""
    return PieceTable(
        lambda piece: tuple([stem for word in WORD.findall(piece) for stem in _stems_of_word(word, language)])
    )


def _stems_of_word(word: str, language: str) -> tuple[str, ...]:
    whole = word.lower()
    if not word.isascii() and _unspaced().search(word):
        return _pairs_of_characters(whole)
    stop_words = STOP_WORDS if language in ("english", "porter") else frozenset[str]()
    if whole in stop_words:
        return ()
    stem = _stemmer(language)
    if "_" not in word and not _MIXED_CASE.search(word):
        return (stem(whole),)
    parts = [part.lower() for part in _PART.findall(word)]
    if len(parts) > 1:
        return (stem(whole), *(stem(part) for part in parts if part not in stop_words))
    return tuple(map(stem, parts))


def _pairs_of_characters(word: str) -> tuple[str, ...]:
    """Return what stands for words in writing without spaces (Chinese, Japanese, Thai, ...)."""
    return (word,) if len(word) == 1 else tuple(word[place : place + 2] for place in range(len(word) - 1))


@lru_cache(maxsize=len(LANGUAGES))
def _stemmer(language: str) -> Callable[[str], str]:
    if language == "none":
        return str
    if language not in LANGUAGES:
        raise ValueError(f"there is no stemmer for {language!r}; choose one of {', '.join(LANGUAGES)}")
    # Imported at the first word: to declare a ranker takes no stemmer.
    from Stemmer import Stemmer

    stem: Callable[[str], str] = Stemmer(language, 0).stemWord
    return stem


@lru_cache
def _unspaced() -> re.Pattern[str]:
    """Return what finds scripts without spaces; compiled where a word is not ASCII, 3 ms."""
    return re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
