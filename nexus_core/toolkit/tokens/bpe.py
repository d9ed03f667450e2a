"""Counts the tokens of texts in common characters without tiktoken, whose tables take a hundred times longer to load.

Text is cut into words by Python's `re`; a word that is a token counts 1, any other is merged pair by pair, the lowest
rank first, as byte pair encoding is defined. Words recur, so their counts are kept: warm, it is as fast as tiktoken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from nexus_core.toolkit.tokens.vocabulary import TokenRanks

# Common is ASCII, Latin-1, combining marks, punctuation, currency signs, arrows, mathematical and technical signs,
# shapes, emoji: characters whose Unicode classes are settled, so that our table of them and tiktoken's cannot differ.
UNCOMMON = (
    "[^\x00-\xff\u0300-\u036f\u200b-\u2027\u202a-\u202e\u2030-\u205e\u20a0-\u20bf\u2190-\u245f\u2500-\u2775\u2794-\u2bff"
    "\ufe0f\U0001f300-\U0001faff]"
)
_UNCOMMON = re.compile(UNCOMMON)
_WORDS_KEPT = 1 << 15
_PLACES_KEPT = 1 << 14
"""Of parts of words: words are merged of the same few, and to look one up in the table takes most of the time."""
_LONGEST_WORD = 128
"""In bytes, as the longest token."""


def is_common(text: str) -> bool:
    """Return whether a `WordCounter` counts this text rightly."""
    return text.isascii() or not _UNCOMMON.search(text)


class WordCounter:
    """Counts the tokens of common text; merging takes quadratic time, so words of over 128 bytes go to `count_long`."""

    def __init__(self, pattern: str, ranks: TokenRanks, count_long: Callable[[str], int]) -> None:
        self._words = re.compile(pattern)
        self._place = lru_cache(_PLACES_KEPT)(ranks.place)
        self._count_long = count_long
        self._count_word = lru_cache(_WORDS_KEPT)(self._count)
        self.merged = 0
        """Bytes of words merged so far, which is where the time goes."""

    def count(self, text: str) -> int:
        """Return the number of tokens of a text of common characters."""
        return sum(map(self._count_word, self._words.findall(text)))

    def _count(self, word: str) -> int:
        data = word.encode()
        if len(data) == 1 or self._place(data):
            return 1
        if len(data) > _LONGEST_WORD:
            return self._count_long(word)
        self.merged += len(data)
        return merged_count(data, self._place)


def merged_count(word: bytes, place: Callable[[bytes], int]) -> int:
    """Return into how many tokens byte pair encoding cuts a word that is no token as a whole.

    `place` tells the rank of a token by a number above 0 that grows with it, and 0 for what is no token.
    """
    never = 1 << 62
    bounds = list(range(len(word) + 1))
    ranks = [place(word[at : at + 2]) or never for at in range(len(word) - 1)]
    while ranks and (lowest := min(ranks)) != never:
        at = ranks.index(lowest)
        del bounds[at + 1], ranks[at]
        if at < len(ranks):
            ranks[at] = place(word[bounds[at] : bounds[at + 2]]) or never
        if at:
            ranks[at - 1] = place(word[bounds[at - 1] : bounds[at + 1]]) or never
    return len(bounds) - 1
