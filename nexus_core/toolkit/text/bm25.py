"""Compares texts by their words: what the rankers, the packer and the extractive connector share.

terms("The Normans' descendants")                -> ["norman", "descend"]
sentence_scores("Who were the Normans?", [...])  -> one score per sentence, 0.0 where no word of the query occurs
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import log
from zlib import crc32

from nexus_core.toolkit.text.stemming import LONGEST_PIECE, pieces, stems

_PIECES_KEPT = 1 << 17


def terms(text: str, language: str = "english", kind: str = "text") -> list[str]:
    """Return the stems of the words of `text` in order, without stop words; an identifier's parts follow the whole."""
    return [stem for piece in pieces(text) for stem in stems(piece, language)]


def sentence_scores(query: str, sentences: Sequence[str], language: str = "english") -> list[float]:
    """Return for each sentence the share of the query's words it holds, rare words counting more: from 0.0 to 1.0.

    How rare a word is, is judged by the sentences themselves.
    """
    asked = set(terms(query, language))
    held = [asked.intersection(terms(sentence, language)) for sentence in sentences]
    found = Counter(word for words_held in held for word in words_held)
    weight = {word: inverse_frequency(found[word], len(sentences)) for word in asked}
    total = sum(weight.values())
    return [sum(weight[word] for word in words_held) / total if total else 0.0 for words_held in held]


def inverse_frequency(holding: int, total: int) -> float:
    """Return how much a word says that `holding` of `total` texts hold: BM25's weight, as Lucene writes it."""
    return log(1.0 + (total - holding + 0.5) / (holding + 0.5))


def codes(text: str, language: str = "english") -> bytes:
    """Return the stems of `text` in order, as 32-bit numbers in the machine's byte order."""
    known = _codes(language)
    return b"".join([known[piece] for piece in text.split()])


class _Codes(dict[str, bytes]):
    """The codes of the pieces of text met so far; a plain look-up is twice as fast as a call of a cached function."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self._language = language

    def __missing__(self, piece: str) -> bytes:
        if len(piece) > LONGEST_PIECE:
            return b"".join([self[short] for short in pieces(piece)])
        numbers = array(
            "I", [crc32(stem.encode("utf-8", "surrogatepass")) for stem in stems(piece, self._language)]
        ).tobytes()
        if len(self) >= _PIECES_KEPT:
            self.clear()
        self[piece] = numbers
        return numbers


@lru_cache
def _codes(language: str) -> _Codes:
    return _Codes(language)
