"""The index of a few items, without numpy: a short run from the shell is over before that has loaded.

It scores as bm25_index.py does; which of the two is taken depends on the number and length of the items alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest

from attrs import frozen

from nexus_core import Item
from nexus_core.toolkit import (
    CODE_SIZE,
    TITLE_COUNTS,
    Bm25Parameters,
    CodedTexts,
    QueryWords,
    code_of,
    codes,
    item_codes,
    item_languages,
    length_norm,
    query_words,
)

FEW_ITEMS = 512
FEW_CHARACTERS = 1 << 20


@frozen(kw_only=True, eq=False, repr=False)
class SmallIndex:
    """The stems of each item; what a word or pair adds is worked out when it is first asked for."""

    languages: tuple[str, ...]
    """Those of the items."""
    own_languages: Sequence[str]
    """That of each item."""
    all_words: bool
    """Stop words are in it."""
    parameters: Bm25Parameters
    items: CodedTexts
    word_norms: list[float]
    pair_norms: list[float]

    def query(self, text: str) -> QueryWords[str]:
        """Return the words of a query."""
        return query_words(text, self.languages, all_words=self.all_words)

    def holding(self, stems: Iterable[str]) -> dict[str, int]:
        """Return how many items hold each of some stems."""
        return {stem: len(self.items.counts(code_of(stem))) for stem in stems}

    def best(self, scores: Sequence[float], count: int) -> list[int]:
        """Return the items with the best scores."""
        return nlargest(count, range(len(scores)), key=scores.__getitem__)

    def scores(self, query: QueryWords[str]) -> list[float]:
        """Return the score of each item."""
        return self.items.scores(query.keyed(code_of), self.word_norms, self.pair_norms, self.parameters)


def is_few(items: Sequence[Item]) -> bool:
    """Tell whether items are so few that this index is the quicker one, the import of numpy counted."""
    return len(items) <= FEW_ITEMS and sum(len(item.text) for item in items) <= FEW_CHARACTERS


def build(items: Sequence[Item], language: str, parameters: Bm25Parameters, *, all_words: bool = False) -> SmallIndex:
    """Index the items, with `all_words` by their stop words, too."""
    languages = item_languages(items, language)
    each = [*zip(items, languages, strict=True)]
    titles = [len(codes(item.title, own, all_words=all_words)) // CODE_SIZE for item, own in each]
    texts = [codes(item.text, own, all_words=all_words) for item, own in each]
    lengths = [(title, len(text) // CODE_SIZE) for title, text in zip(titles, texts, strict=True)]
    words = [title * TITLE_COUNTS + text for title, text in lengths]
    pairs = [max(0, title - 1) * TITLE_COUNTS + max(0, text - 1) for title, text in lengths]
    return SmallIndex(
        languages=tuple(dict.fromkeys(languages)),
        own_languages=languages,
        all_words=all_words,
        parameters=parameters,
        items=CodedTexts(
            [
                item_codes(item.title, text, own, all_words=all_words)
                for (item, own), text in zip(each, texts, strict=True)
            ]
        ),
        word_norms=_norms(words, parameters),
        pair_norms=_norms(pairs, parameters),
    )


def _norms(lengths: Sequence[int], parameters: Bm25Parameters) -> list[float]:
    mean = sum(lengths) / max(len(lengths), 1)
    return [length_norm(length, mean, parameters) for length in lengths]
