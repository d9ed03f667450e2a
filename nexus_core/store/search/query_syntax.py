"""What a query says besides its words: phrases in quotes, and words with one typing error."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice

from attrs import evolve

from nexus_core.contract.values import Item
from nexus_core.toolkit.text.bm25 import terms
from nexus_core.toolkit.text.query_words import QueryWords
from nexus_core.toolkit.text.stemming import pieces, stem_table

MOST_PHRASES = 8
SHORTEST = 5
"""Letters of a word in which a typing error is looked for: shorter words are one error away from too many others."""
MOST_CORRECTED = 16
"""Words of a query in which a typing error is looked for: each has some hundred neighbours."""
_QUOTED = re.compile(
    r'"([^"\n]{1,500})"|\u201c([^\u201d\n]{1,500})\u201d|\u201e([^\u201c\u201d\n]{1,500})[\u201c\u201d]'
)


def phrases_of(query: str) -> list[str]:
    """Return the phrases of a query that stand in quotes, each as its words with a blank around each."""
    quoted = (
        " ".join(terms("".join(filter(None, found.groups())), all_words=True)) for found in _QUOTED.finditer(query)
    )
    return [f" {words} " for words in dict.fromkeys(quoted) if words][:MOST_PHRASES]


def stems_of(phrases: Sequence[str], languages: Sequence[str]) -> list[set[str]]:
    """Return for each word of some phrases its stems in the languages; not for those that no index holds."""
    tables = [stem_table(language) for language in languages]
    words = dict.fromkeys(word for phrase in phrases for word in pieces(phrase))
    groups = [{stem for table in tables for stem in table[word]} for word in words]
    return [group for group in groups if group]


def holds_phrases(item: Item, phrases: Sequence[str]) -> bool:
    """Tell whether an item holds all phrases, in its title or its text, whatever the case and the signs between."""
    texts = [f" {' '.join(terms(text, all_words=True))} " for text in (item.title, item.text)]
    return all(any(phrase in text for text in texts) for phrase in phrases)


def corrected(words: QueryWords[str], held: Callable[[str], int], known: Collection[str]) -> QueryWords[str]:
    """Return a query in which each long word that no text holds is the one most texts hold of those an error away.

    An error is a letter too many, too few, another one, or two that changed places. Of many such words the first are
    looked at. What `held` counts and `known` has is what may be seen: no other text decides what a word stands for.
    """
    changes = {}
    unknown = (word for word in words.counts if word not in known and len(word) >= SHORTEST and word.isalpha())
    for word in islice(unknown, MOST_CORRECTED):
        best = max(_an_error_away(word), key=held)
        if held(best):
            changes[word] = best
    if not changes:
        return words
    counts: dict[str, float] = {}
    for word, count in words.counts.items():
        meant = changes.get(word, word)
        counts[meant] = max(count, counts.get(meant, 0.0))
    pairs = dict.fromkeys((changes.get(one, one), changes.get(other, other)) for one, other in words.pairs)
    return evolve(words, counts=counts, pairs=[*pairs])


def _an_error_away(word: str) -> Iterator[str]:
    """Yield the words that differ by one error, with the letters that the word has and those of its alphabet."""
    letters = _alphabet(word)
    for place in range(len(word) + 1):
        before, after = word[:place], word[place:]
        if after:
            yield before + after[1:]
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
        for letter in letters:
            yield before + letter + after
            if after:
                yield before + letter + after[1:]


def _alphabet(word: str) -> Sequence[str]:
    """Return the letters of the script that a word is in: the 26 of English, or those around its own."""
    if word.isascii():
        return "abcdefghijklmnopqrstuvwxyz"
    low, high = min(map(ord, word)), max(map(ord, word))
    first = low - low % 32
    return [chr(code) for code in range(first, min(high + 32, first + 96)) if chr(code).isalpha()]
