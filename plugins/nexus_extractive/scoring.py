"""Scores of units for a question: by its words in and around them, rare ones counting more; and the choice of units.

The weights were chosen on 600 questions of SQuAD and held on 600 others: see README.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from attrs import frozen

from nexus_core import FeatureKey, PackedItem
from nexus_core.toolkit import has_only_stop_words, inverse_frequency, item_languages, pieces, terms
from nexus_extractive.citable_units import Unit, units

_AROUND_WORDS = "\"'“”‘’«»()[]{}.,;:!?…-–—"
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


def read_question(text: str, language: str, *, all_words: bool = False) -> QuestionTerms:
    """Return what a question asks for in texts of a language; the words that only ask are known in English alone.

    With `all_words` stop words are among them.
    """
    telling = [] if all_words or language != "english" else [word for word in pieces(text) if not _only_asks(word)]
    asked = " ".join(telling)
    found = terms(asked, language) or terms(text, language, all_words=all_words)
    return QuestionTerms(tuple(dict.fromkeys(found)), frozenset(pairwise(found)))


def _only_asks(word: str) -> bool:
    bare = word.strip(_AROUND_WORDS)
    is_name = len(bare) > 1 and bare.isupper()  # US, WHO
    return not is_name and bare.lower().replace("’", "'") in _ASKING


@frozen(eq=False, repr=False)
class Question:
    """A question as it is compared with each item: by the words of the item's language."""

    text: str
    language: str
    """Or `auto`: that of each item."""
    all_words: bool
    """There is no word in it but stop words."""
    by_language: dict[str, QuestionTerms]
    of_items: dict[int, str]
    """The language of each item of the prompt by its number: what tells none alone has that of the others."""

    @classmethod
    def read(cls, text: str, items: Sequence[PackedItem], language: str) -> Question:
        """Return the question as it is asked of some items."""
        each_own = item_languages([packed.item for packed in items], language)
        languages = dict.fromkeys(each_own)
        all_words = has_only_stop_words(text, [*languages])
        found = {each: read_question(text, each, all_words=all_words) for each in languages}
        of_items = {packed.number: own for packed, own in zip(items, each_own, strict=True)}
        return cls(text, language, all_words, found, of_items)

    @property
    def terms(self) -> frozenset[str]:
        """The terms, whatever their language."""
        return frozenset(term for question in self.by_language.values() for term in question.terms)

    def language_of(self, packed: PackedItem) -> str:
        """Return the language that an item is read in."""
        return self.of_items[packed.number]


_ANY_WORD = 0.5
"""Added to the weight of every word: in what was packed for a question the question's words are common."""
_AROUND = 0.7
"""A word in the title, the heading or the lead, against one in the unit."""
_BEFORE = 0.45
"""A word in the sentence before."""
_BEFORE_PRONOUN = 0.65
"""The same where the sentence begins with a word that points back."""
_ALIKE = 0.5
"""A word with the same beginning, such as `descent` for `descend`."""
_SIDE_BY_SIDE = 0.1
_LEADS = 0.15
"""For a sentence that introduces a list or a stretch of code, which is shown with it."""
_ITEM = 0.5
"""The item's own score, against a unit with all words."""
_BEGINNING = 4

_POINTS_BACK = re.compile(
    r"(?:He|She|It|They|This|These|That|Those|Such|His|Her|Its|Their|The (?:latter|former|same))\b"
)
_KEPT_TEXTS = 8
"""Of one item: it may be packed in different parts for different questions."""


@frozen(eq=False, repr=False)
class Studied:
    """A unit with its terms, which depend on no question."""

    unit: Unit
    terms: tuple[str, ...]
    held: frozenset[str]
    beginnings: frozenset[str]
    """Of the terms, what words that are alike have in common."""
    around: frozenset[str]
    leads: bool
    """It introduces others."""


@frozen(kw_only=True, eq=False, repr=False)
class Scored:
    """A unit and how well it answers."""

    item: PackedItem
    unit: Unit
    held: frozenset[str]
    """All its terms."""
    score: float
    match: float
    """The share of the question that is in the unit and around it, from 0 to 1."""


def _key_of(language: str, all_words: bool) -> FeatureKey[dict[str, tuple[Studied, ...]]]:
    return FeatureKey("extractive", (language, all_words))


def study(packed: PackedItem, question: Question) -> tuple[Studied, ...]:
    """Return the units of a packed item; kept with the item, since the next question may bring it again."""
    language, all_words = question.language_of(packed), question.all_words
    key = _key_of(language, all_words)
    kept = packed.item.features.get(key)
    if kept is None:
        kept = packed.item.features.put(key, {})
    found = kept.get(packed.text)
    if found is None:
        cut = units(packed.text, packed.item.kind)
        leads = {unit.lead for unit in cut}
        compared = partial(terms, language=language, all_words=all_words)
        found = tuple(_studied(unit, packed, compared, unit.place in leads) for unit in cut)
        if len(kept) >= _KEPT_TEXTS:
            kept.clear()
        kept[packed.text] = found
    return found


def _studied(unit: Unit, packed: PackedItem, terms_of: Callable[[str], list[str]], leads: bool) -> Studied:
    # What a cell means is said by its column: without the head a row has no words for it.
    text = f"{unit.head.text}\n{unit.text}" if unit.form == "row" and unit.head else unit.text
    found = tuple(terms_of(text))
    around = frozenset(terms_of(f"{packed.item.title} {unit.under} {unit.follows}"))
    held = frozenset(found)
    return Studied(unit, found, held, frozenset(term[:_BEGINNING] for term in held), around, leads)


def score_units(question: Question, items: Sequence[PackedItem]) -> list[Scored]:
    """Return every unit of the items that holds a word of the question, best first."""
    asked = question.terms
    if not asked:
        return []
    studied = [(packed, study(packed, question)) for packed in items]
    total = sum(len(found) for _, found in studied)
    holding = Counter(term for _, found in studied for one in found for term in one.held & asked)
    shares = _item_shares(items)
    scored = []
    for (packed, found), share in zip(studied, shares, strict=True):
        own = question.by_language[question.language_of(packed)]
        weights = {term: inverse_frequency(holding[term], total) + _ANY_WORD for term in own.terms}
        before: Studied | None = None
        for one in found:
            match = _match(one, before, weights)
            if match > 0:
                score = match + _SIDE_BY_SIDE * _pairs(one, own) + _LEADS * one.leads + _ITEM * share
                scored.append(Scored(item=packed, unit=one.unit, held=one.held, score=score, match=min(match, 1.0)))
            before = one
    scored.sort(key=lambda one: -one.score)
    return scored


def _match(one: Studied, before: Studied | None, weights: dict[str, float]) -> float:
    """Return the share of the question's weight that is in a unit and around it.

    A unit without any word of the question counts only after a heading, which it may be the answer to.
    """
    earlier = _BEFORE_PRONOUN if _POINTS_BACK.match(one.unit.text) else _BEFORE
    together = before is not None and before.unit.block == one.unit.block
    found, own = 0.0, before is None or before.unit.under != one.unit.under
    for term, weight in weights.items():
        part = 1.0 if term in one.held else _ALIKE if _has_alike(term, one) else 0.0
        own = own or part > 0
        if term in one.around:
            part = max(part, _AROUND)
        elif together and before is not None and term in before.held:
            part = max(part, earlier)
        found += part * weight
    return found / sum(weights.values()) if own and weights else 0.0


def _has_alike(term: str, one: Studied) -> bool:
    """Tell whether a stem of the same beginning is there: all but the last two letters, and four at least."""
    beginning = term[:_BEGINNING]
    if len(term) < _BEGINNING or term.isdigit() or beginning not in one.beginnings:
        return False
    alike = [other for other in one.held if other.startswith(beginning) and not other.isdigit()]
    return any(
        _prefix(other, min(len(other), len(term))) == _prefix(term, min(len(other), len(term))) for other in alike
    )


def _prefix(term: str, shorter: int) -> str:
    return term[: max(_BEGINNING, shorter - 2)]


def _pairs(one: Studied, question: QuestionTerms) -> float:
    """Return the share of the question's pairs of words that stand side by side here too."""
    found = question.pairs.intersection(pairwise(one.terms)) if question.pairs else ()
    return len(found) / max(1, len(question.pairs))


def _item_shares(items: Sequence[PackedItem]) -> list[float]:
    """Return the scores of the items against the best one's, from 0 to 1, whatever the ranker's scale."""
    scores = [packed.score for packed in items]
    best, worst = max(scores, default=0.0), min(scores, default=0.0)
    if best == worst:
        return [0.0] * len(scores)
    # Scores of lexical rankers begin at zero; others are only known by their range.
    floor = 0.0 if worst >= 0 else worst
    return [(score - floor) / (best - floor) for score in scores]


_NOT_FAR_BEHIND = 0.7
"""Of the best score. Measured on SQuAD: loses one answer in 200 and saves a quarter of the sentences."""
_SAME = 0.8
"""Share of the terms of the shorter of two units from which on they say the same."""
_NEW_WORDS = 0.2
"""What the words of the question that no chosen unit holds are worth, against the score."""
_LOOKED_AT = 40


def choose(scored: Sequence[Scored], asked: frozenset[str], count: int, min_score: float) -> list[Scored]:
    """Return at most `count` units, best first; none where even the best matches less than `min_score`."""
    waiting = [one for one in scored[:_LOOKED_AT] if one.match >= min_score]
    if not waiting:
        return []
    least = _NOT_FAR_BEHIND * waiting[0].score
    chosen: list[Scored] = []
    covered: frozenset[str] = frozenset()
    while waiting and len(chosen) < count:
        best = max(waiting, key=lambda one: one.score + _NEW_WORDS * _share(one.held - covered, asked))
        waiting.remove(best)
        if best.score >= least and not any(_says_the_same(best, other) for other in chosen):
            chosen.append(best)
            covered |= best.held
    return chosen


def _share(held: frozenset[str], asked: frozenset[str]) -> float:
    return len(held & asked) / len(asked) if asked else 0.0


def _says_the_same(one: Scored, other: Scored) -> bool:
    shorter = min(len(one.held), len(other.held))
    return shorter > 2 and len(one.held & other.held) >= _SAME * shorter
