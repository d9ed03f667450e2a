"""Small pools of texts, scored by counting bytes: numpy takes longer to import than that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, field

from nexus_core.toolkit.text.bm25 import CODE_SIZE, DEFAULTS, Bm25Parameters, inverse_frequency
from nexus_core.toolkit.text.query_words import QueryWords


@define(eq=False, repr=False)
class CodedTexts:
    """A small pool of texts, as the codes of their stems; each word and pair is counted when it is first asked for."""

    texts: Sequence[bytes]
    _counts: dict[bytes, dict[int, int]] = field(factory=dict, init=False)

    def counts(self, key: bytes) -> Mapping[int, int]:
        """Return how often each text holds a word, or a pair of neighbours, for those texts that do."""
        known = self._counts.get(key)
        if known is None:
            texts, places = self.texts, self._places(key)
            held = [place for place in places if key in texts[place]]  # most do not, and a call takes as long again
            known = {place: count for place in held if (count := _count(texts[place], key))}
            if known:  # what no text holds is not kept: of that there is no end
                self._counts[key] = known
        return known

    def _places(self, key: bytes) -> Sequence[int]:
        """Return the texts that may hold a word, or a pair: those that hold both of its words."""
        if len(key) == CODE_SIZE:
            return range(len(self.texts))
        first, second = self.counts(key[:CODE_SIZE]), self.counts(key[CODE_SIZE:])
        return [place for place in first if place in second]

    def scores(
        self,
        query: QueryWords[bytes],
        norms: Sequence[float],
        pair_norms: Sequence[float],
        parameters: Bm25Parameters = DEFAULTS,
    ) -> list[float]:
        """Return the score of each text for the codes of a query's words."""
        totals = [0.0] * len(self.texts)
        holding = {word: len(self.counts(word)) for word in query.counts}
        for word, weight in query.weights(holding, len(totals)).items():
            add_scores(totals, self.counts(word), norms, weight)
        for one, other in query.pairs if parameters.pairs > 0 else ():
            if holding[one] and holding[other]:
                counts = self.counts(one + other)
                add_scores(totals, counts, pair_norms, parameters.pairs * inverse_frequency(len(counts), len(totals)))
        return totals


def add_scores(totals: list[float], counts: Mapping[int, int], norms: Sequence[float], weight: float) -> None:
    """Add to each text's total what one word or pair of this weight is worth in it."""
    for place, count in counts.items():
        totals[place] += weight * (count / (count + norms[place]))  # `saturation`, whose call would take as long again


def _count(text: bytes, key: bytes) -> int:
    """Return how often a text holds a code, or two in a row.

    `bytes.count` alone also counts where the bytes stand across two codes (some word of 225 questions does so in 500
    abstracts), and sees one pair in a word that comes three times in a row.
    """
    count = text.count(key)
    if count == 0 or (count == 1 and len(key) == CODE_SIZE and text.index(key) % CODE_SIZE == 0):
        return count
    count, start = 0, text.find(key)
    while start >= 0:
        aligned = start % CODE_SIZE == 0
        count += aligned
        start = text.find(key, start + (CODE_SIZE if aligned else 1))
    return count
