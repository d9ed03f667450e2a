"""Match: how near an answer is to the nearest of those that are known, as SQuAD measures it.

Rajpurkar et al. 2016 and 2018 (evaluate-v2.0.py): both texts are put in lower case, without punctuation, articles and
white space beside single spaces; exact match compares what is left, F1 its words. Two things are of Lewis et al. 2020
(MLQA), so that other languages are measured by the same rule: punctuation is what Unicode calls so, and a character of
writing without spaces is a word. Articles depend on the language that is named: none are taken from one without a list.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from attrs import frozen

ARTICLES = {
    "english": frozenset(("a", "an", "the")),
    "german": frozenset("ein eine einen einem eines einer der die das den dem des".split()),
    "spanish": frozenset("un una unos unas el la los las".split()),
}
"""By language: English as SQuAD has it, German and Spanish as MLQA has them."""

_WORD_ALONE = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


@frozen
class Match:
    """How near an answer is to a known one, each from 0 to 1."""

    exact: float
    """1 where both are the same words."""
    f1: float
    """The harmonic mean of the shares of words that they have in common."""
    contains: float
    """1 where the answer has the known one in it, word for word."""


def match_answer(text: str, known: Sequence[str], language: str = "english") -> Match:
    """Return each figure for the known answer that is best in it; `text` has no citations in it any more."""
    said = normal_words(text, language)
    wanted = [normal_words(answer, language) for answer in known]
    return Match(
        exact=float(any(said == answer for answer in wanted)),
        f1=max((_f1(said, answer) for answer in wanted), default=0.0),
        contains=float(any(_is_within(answer, said) for answer in wanted)),
    )


def normal_words(text: str, language: str = "english") -> list[str]:
    """Return the words that are compared."""
    lowered = unicodedata.normalize("NFKC", text).lower()
    bare = "".join(" " if character.isspace() else character for character in lowered if not _is_mark(character))
    articles = ARTICLES.get(language, frozenset[str]())
    return [word for word in _WORD_ALONE.sub(r" \1 ", bare).split() if word not in articles]


def _is_mark(character: str) -> bool:
    """Tell whether a character is punctuation or a symbol: SQuAD leaves out `$` and `+` as it does a full stop."""
    return unicodedata.category(character)[0] in "PS"


def _f1(said: Sequence[str], wanted: Sequence[str]) -> float:
    if not said or not wanted:
        return float(list(said) == list(wanted))
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


def _is_within(wanted: Sequence[str], said: Sequence[str]) -> bool:
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(said)} "
