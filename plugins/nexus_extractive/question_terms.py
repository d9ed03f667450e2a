"""What a question asks for: its words without those that only make it a question."""

from __future__ import annotations

import re
from itertools import pairwise

from attrs import frozen

from nexus_core.toolkit import terms

_WORD = re.compile(r"\w+(?:['’]\w+)?")
_ASKING = frozenset({
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "do", "does", "did", "don't", "doesn't",
    "didn't", "done", "can", "can't", "could", "would", "should", "may", "might", "must", "shall", "have", "has",
    "had", "is", "isn't", "am", "were", "was", "been", "being", "i", "i'm", "you", "he", "she", "we", "us", "our",
    "your", "my", "me", "mine", "its", "it's", "his", "her", "them", "what's", "who's", "there's", "much", "many",
    "long", "often", "one", "ones", "some", "any", "all", "each", "from", "about", "than", "also", "so", "please",
    "tell", "give", "show", "explain", "describe", "happens", "happen", "mean", "means", "get", "gets", "got",
})  # fmt: skip
"""English words that are in questions and seldom in answers."""


@frozen(eq=False, repr=False)
class QuestionTerms:
    """A question in the terms it is compared by."""

    terms: tuple[str, ...]
    """In order, each once."""
    pairs: frozenset[tuple[str, str]]
    """Terms that stand side by side."""


def read_question(text: str, language: str) -> QuestionTerms:
    """Return what a question asks for; the words that only ask are known in English alone."""
    words = _WORD.findall(text)
    telling = [word for word in words if language != "english" or word.lower().replace("’", "'") not in _ASKING]
    found = [term for word in telling or words for term in terms(word, language)]
    return QuestionTerms(tuple(dict.fromkeys(found)), frozenset(pairwise(found)))
