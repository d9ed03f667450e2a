"""BM25 over stems and word pairs: the formula and its parameters, for the rankers, the store, the packer and answers.

terms("The Normans' descendants")                -> ["norman", "descend"]
sentence_scores("Who were the Normans?", [...])  -> one score per sentence, 0.0 where no word of the query occurs

score(text) = sum over the query's words of inverse_frequency * saturation, and `pairs` times the same over its pairs of
neighbouring words. Small pools are scored here, by counting bytes (`CodedTexts`); numpy takes longer to import than
that takes. Large ones hand arrays to the same functions.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import log1p
from typing import TYPE_CHECKING, Any, TypeVar, overload
from zlib import crc32

from attrs import frozen

from nexus_core.toolkit.text.stemming import LANGUAGES, PieceTable, cased, pieces, stem_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


_Array = TypeVar("_Array", bound="npt.NDArray[np.floating]")

CODE_SIZE = 4
"""The bytes of a stem's code."""
BREAK = bytes(CODE_SIZE)
"""The code between two parts of a text, so that no pair reaches from one to the other; hardly that of any stem."""
TITLE_COUNTS = 2
"""How often the words of an item's title are counted."""


@frozen(kw_only=True)
class Bm25Parameters:
    """The parameters of the score."""

    k1: float = 1.5
    """How much it helps that a word occurs again."""
    b: float = 0.75
    """How much long texts are discounted, from 0 (not at all) to 1."""
    pairs: float = 0.3
    """What two neighbouring words of the query add, against 1 for a word."""


DEFAULTS = Bm25Parameters()


@overload
def inverse_frequency(holding: float, total: float) -> float: ...
@overload
def inverse_frequency(
    holding: npt.NDArray[np.integer], total: float, log1p: Callable[[Any], Any]
) -> npt.NDArray[np.float64]: ...
def inverse_frequency(holding: Any, total: float, log1p: Callable[[Any], Any] = log1p) -> Any:
    """Return how much a word says that `holding` of `total` texts hold: BM25's weight, as Lucene writes it.

    For an array, `log1p` is numpy's.
    """
    return log1p((total - holding + 0.5) / (holding + 0.5))


@overload
def length_norm(length: float, mean: float, parameters: Bm25Parameters = ...) -> float: ...
@overload
def length_norm(length: _Array, mean: float, parameters: Bm25Parameters = ...) -> _Array: ...
def length_norm(length: Any, mean: float, parameters: Bm25Parameters = DEFAULTS) -> Any:
    """Return by what the counts in a text of this length, or in each of an array, are discounted."""
    return parameters.k1 * (1 - parameters.b + parameters.b * length / max(mean, 1e-9))


def saturation(count: Any, norm: Any) -> Any:
    """Return what occurring `count` times is worth, from 0 to 1; of numbers or arrays."""
    return count / (count + norm)


def terms(text: str, language: str = "english", kind: str = "text", *, all_words: bool = False) -> list[str]:
    """Return the terms of `text` in order, without stop words; an identifier's parts follow the whole.

    With `all_words` stop words are among them.
    """
    table = stem_table(language, all_words=all_words)
    return [stem for piece in pieces(text) for stem in table[piece]]


def query_terms(text: str, languages: Sequence[str] = ("english",), *, all_words: bool = False) -> list[list[str]]:
    """Return the terms of a query in each of the languages that the searched items have; what is the same comes once.

    A word of the query is stemmed as the words of the items are, whatever the language of the query itself.
    """
    found: list[list[str]] = []
    for language in languages:
        stems = terms(text, language, all_words=all_words)
        if stems and stems not in found:
            found.append(stems)
    return found


def has_only_stop_words(text: str, languages: Sequence[str] = ("english",)) -> bool:
    """Tell whether a query has words, and all of them are stop words in a language: such as `to be or not to be`."""
    return any(not terms(text, each) and terms(text, each, all_words=True) for each in languages)


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


def code_of(stem: str) -> bytes:
    """Return the code of a stem: 32 bits in the machine's byte order."""
    return crc32(stem.encode("utf-8", "surrogatepass")).to_bytes(CODE_SIZE, sys.byteorder)


def codes(text: str, language: str = "english", *, all_words: bool = False) -> bytes:
    """Return the codes of the terms of `text`, in order."""
    return codes_as_cased(cased(text), language, all_words=all_words)


def codes_as_cased(text: str, language: str = "english", *, all_words: bool = False) -> bytes:
    """Return the same of a part of a text that `cased` has seen."""
    return b"".join(map(_codes(language, all_words).__getitem__, text.split()))


def item_codes(title: str, text_codes: bytes, language: str, *, all_words: bool = False) -> bytes:
    """Return what an item is scored by: the codes of its title, as often as that counts, and those of its text."""
    if not title:
        return text_codes
    return (codes(title, language, all_words=all_words) + BREAK) * TITLE_COUNTS + text_codes


@lru_cache(maxsize=2 * len(LANGUAGES))
def _codes(language: str, all_words: bool) -> PieceTable[bytes]:
    table = stem_table(language, all_words=all_words)
    return PieceTable(lambda piece: b"".join(map(code_of, table[piece])), lambda _, parts: b"".join(parts))
