"""BM25 as the ranker `bm25` works it out, for the best items that an index has found. Pure.

tantivy scores words alone, with k1 1.2 and rounded lengths. What it finds is scored again by the ranker's weights, with
the pairs of neighbouring words. How rare a pair is, is judged by those found: what share of them holds it, is taken to
hold it of all items with the rarer of its words. nDCG@10 of that and of the ranker, over all items and pairs:

| | scifact | cosqa | cranfield | squad (1,500 questions) |
|---|---|---|---|---|
| the ranker | .696 | .402 | .398 | .879 |
| the 200 best by words, scored again | .696 | .401 | .397 | .879 |
| the 100 best | .695 | .402 | .397 | .879 |
| the 30 best, where no more are asked for | .694 | .399 | .396 | |
| tantivy's words alone | .690 | .386 | .383 | .871 |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nexus_core.toolkit.text.bm25 import (
    CODE_SIZE,
    DEFAULTS,
    code_of,
    codes as codes_of,
    inverse_frequency,
    item_codes,
    length_norm,
)
from nexus_core.toolkit.text.coded_texts import CodedTexts, add_scores
from nexus_core.toolkit.text.query_words import QueryWords


class Scorer:
    """Scores the items that one search has found."""

    def __init__(self, asked: QueryWords[str], holding: Mapping[str, int], size: int, average: float) -> None:
        """Take the words of a query, and how many of `size` items hold each that was looked for."""
        self._size, self._average = size, average
        self._words = [(code_of(stem), weight) for stem, weight in asked.weights(holding, size).items()]
        self._pairs = [
            (code_of(one) + code_of(other), min(holding[one], holding[other]))
            for one, other in asked.pairs
            if one in holding and other in holding
        ]

    def scores(self, texts: CodedTexts) -> list[float]:
        """Return the score of each item."""
        size = len(texts.texts)
        norms = [length_norm(len(codes) / CODE_SIZE, self._average) for codes in texts.texts]
        totals = [0.0] * size
        for code, weight in self._words:
            add_scores(totals, texts.counts(code), norms, weight)
        for code, most in self._pairs:
            counts = texts.counts(code)
            if counts:
                held = len(counts)
                add_scores(totals, counts, norms, DEFAULTS.pairs * self._rarity(max(held, most * held / size)))
        return totals

    def _rarity(self, held: float) -> float:
        return inverse_frequency(min(held, self._size), self._size)


def weighted(
    asked: Sequence[tuple[QueryWords[str], float]], holding: Mapping[str, int], size: int, average: float,
    read: Sequence[bytes],
) -> list[float]:  # fmt: skip
    """Return the score of each item, by its codes, for the words of each part of a query and that part's weight."""
    texts, totals = CodedTexts(read), [0.0] * len(read)
    for words, weight in asked:
        scores = Scorer(words, holding, size, average).scores(texts)
        totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
    return totals


def stream_of(title: str, text: str | None, codes: bytes | None, language: str) -> bytes:
    """Return what an item is scored by: the codes of its title, as often as that counts, and of its text.

    `codes` are those kept with the item, in its language, if any; without them the text is read.
    """
    if codes is None:
        codes = codes_of(text or "", language)
    return item_codes(title, codes, language)
