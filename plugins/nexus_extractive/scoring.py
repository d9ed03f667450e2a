"""Scores of units for a question: by its words in and around them, rare ones counting more; and the choice of units.

The weights of a score were chosen on 600 questions of SQuAD and held on 600 others. What a unit is sure of, against
`min_score`, was chosen on every second question of tests/bench/extractive, whose others tests/bench/extractive.py
measures:

    sure  = scale * share + 2 * (cosine - neutral)
    share = sum of weight * part of each term, over the sum of weights
    weight = worth * (inverse frequency among the units + 0.5)

`scale` is 1 for English and 1.2 elsewhere; `worth` is 0.35 for general terms and 1 for others, and of two characters
that are not there 0.4 of that; `part` is 1 for a term in the unit and less for one around it. `neutral` is, with
vectors of the static table, 0.32 + 0.066 * ln(characters of the question / 45), and with those of minilm 0.30. Without
vectors of one of these, and in other languages, the part with the cosine is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from math import log

from attrs import frozen

from nexus_core import FeatureKey, PackedItem
from nexus_core.toolkit import has_only_stop_words, inverse_frequency, item_languages, pieces, query_words, terms
from nexus_extractive.citable_units import Unit, units
from nexus_extractive.question_words import is_general, is_written_without_spaces, telling_words


@frozen(eq=False, repr=False)
class QuestionTerms:
    """A question in the terms it is compared by."""

    weights: dict[str, float]
    """Each term, in order, and what it is worth beside how rare it is: general words less, repeated ones more."""
    pairs: frozenset[tuple[str, str]]
    """Terms that stand side by side."""


def read_question(text: str, language: str, *, all_words: bool = False) -> QuestionTerms:
    """Return what a question asks for in texts of a language, without the words that only ask.

    With `all_words` stop words are among them.
    """
    telling = [] if all_words else telling_words(pieces(text), language)
    words = query_words(" ".join(telling), [language])
    if not words.counts:
        words = query_words(text, [language], all_words=all_words)
    weights = {term: count * (_GENERAL if is_general(term, language) else 1.0) for term, count in words.counts.items()}
    return QuestionTerms(weights, frozenset(words.pairs))


_LAST_LATIN = "\u024f"


@frozen(eq=False, repr=False)
class Question:
    """A question as it is compared with each item: by the words of the item's language."""

    text: str
    language: str
    """Or `auto`: that of each item."""
    all_words: bool
    """There is no word in it but stop words."""
    is_latin: bool
    """It has no letter of another script."""
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
        is_latin = text.isascii() or not any(letter > _LAST_LATIN and letter.isalpha() for letter in text)
        return cls(text, language, all_words, is_latin, found, of_items)

    @property
    def terms(self) -> frozenset[str]:
        """The terms, whatever their language."""
        return frozenset(term for question in self.by_language.values() for term in question.weights)

    def language_of(self, packed: PackedItem) -> str:
        """Return the language that an item is read in."""
        return self.of_items[packed.number]

    def is_english_for(self, packed: PackedItem) -> bool:
        """Tell whether it is asked in Latin letters of an item in English, as which others without stems are read."""
        return self.language_of(packed) == "english" and self.is_latin


_ANY_WORD = 0.5
"""Added to the weight of every word: in what was packed for a question the question's words are common."""
_GENERAL = 0.35
"""A word that is in texts of any subject, against one that is not."""
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
_UNKNOWN_PAIR = 0.4
"""Two characters that no unit holds, in writing without spaces: it need not be a word."""
_OTHER_LANGUAGE = 1.2
"""What a share counts where it is judged whether there is an answer: general words are known of English alone."""
_USUAL_LENGTH = 45
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


@frozen
class CosineScale:
    """What cosines of a model count where it is judged whether there is an answer."""

    weight: float
    """Against the share of the words."""
    neutral: float
    """The one that says nothing for or against, for a question of `_USUAL_LENGTH` ..."""
    longer: float
    """... and how much more it is for one of e times that."""


SCALES = {"static": CosineScale(2.0, 0.32, 0.066), "minilm": CosineScale(2.0, 0.30, 0.0)}
"""By what the names of a model's vectors begin with; of others nothing was measured."""


@frozen
class Cosines:
    """Cosines of items with a question, by the numbers of the items."""

    of_items: Mapping[int, float]
    scale: CosineScale


@frozen(kw_only=True, eq=False, repr=False)
class Scored:
    """A unit and how well it answers."""

    item: PackedItem
    unit: Unit
    held: frozenset[str]
    """All its terms."""
    score: float
    match: float
    """How sure it is that the unit is about the question, from 0 to 1: by its words, and by the item's cosine."""


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


def score_units(question: Question, items: Sequence[PackedItem], cosines: Cosines | None = None) -> list[Scored]:
    """Return every unit of the items that holds a word of the question, best first.

    `cosines` are those of the items with the question, where vectors of a model that was measured ranked them.
    """
    asked = question.terms
    if not asked:
        return []
    studied = [(packed, study(packed, question)) for packed in items]
    total = sum(len(found) for _, found in studied)
    holding = Counter(term for _, found in studied for one in found for term in one.held & asked)
    by_language = {language: _weigh(own, holding, total) for language, own in question.by_language.items()}
    shares = _item_shares(items)
    scored = []
    for (packed, found), share in zip(studied, shares, strict=True):
        language = question.language_of(packed)
        own = question.by_language[language]
        weights = by_language[language]
        scale = 1.0 if question.is_english_for(packed) else _OTHER_LANGUAGE
        nearness = _nearness(packed, question, cosines)
        before: Studied | None = None
        for one in found:
            match, told = _match(one, before, weights)
            if match > 0:
                score = match + _SIDE_BY_SIDE * _pairs(one, own) + _LEADS * one.leads + _ITEM * share
                sure = max(0.0, min(scale * told + nearness, 1.0))
                scored.append(Scored(item=packed, unit=one.unit, held=one.held, score=score, match=sure))
            before = one
    scored.sort(key=lambda one: -one.score)
    return scored


_Weights = list[tuple[str, str, float, float]]
"""For each term its beginning, if other words may be alike, and its share of the question: by rarity alone, which ranks
units, and by what it is worth, too."""


def _weigh(question: QuestionTerms, holding: Mapping[str, int], total: int) -> _Weights:
    """Return the shares of a question's terms, of which so many of the units hold each."""
    rare = {term: inverse_frequency(holding[term], total) + _ANY_WORD for term in question.weights}
    told = {term: rare[term] * _weight(term, worth, holding[term]) for term, worth in question.weights.items()}
    all_rare, all_told = sum(rare.values()), sum(told.values())
    return [(term, _beginning(term), weight / all_rare, told[term] / all_told) for term, weight in rare.items()]


def _beginning(term: str) -> str:
    return "" if len(term) < _BEGINNING or term.isdigit() else term[:_BEGINNING]


def _weight(term: str, worth: float, holding: int) -> float:
    return worth * _UNKNOWN_PAIR if not holding and len(term) == 2 and is_written_without_spaces(term) else worth


def _nearness(packed: PackedItem, question: Question, cosines: Cosines | None) -> float:
    """Return what the cosine of an item says beside its words; the models know English."""
    cosine = cosines.of_items.get(packed.number) if cosines else None
    if cosines is None or cosine is None or not question.is_english_for(packed):
        return 0.0
    scale = cosines.scale
    neutral = scale.neutral + scale.longer * log(max(len(question.text), 1) / _USUAL_LENGTH)
    return scale.weight * (cosine - neutral)


def _match(one: Studied, before: Studied | None, weights: _Weights) -> tuple[float, float]:
    """Return the shares of the question that are in a unit and around it, by either weight.

    A unit without any word of the question counts only after a heading, which it may be the answer to.
    """
    earlier = _BEFORE_PRONOUN if _POINTS_BACK.match(one.unit.text) else _BEFORE
    together = before is not None and before.unit.block == one.unit.block
    match, told, own = 0.0, 0.0, before is None or before.unit.under != one.unit.under
    for term, beginning, rare, worth in weights:
        part = 0.0
        if term in one.held:
            part, own = 1.0, True
        elif beginning in one.beginnings and beginning and _has_alike(term, beginning, one):
            part, own = _ALIKE, True
        if term in one.around:
            part = max(part, _AROUND)
        elif together and before is not None and term in before.held:
            part = max(part, earlier)
        match += part * rare
        told += part * worth
    return (match, told) if own else (0.0, 0.0)


def _has_alike(term: str, beginning: str, one: Studied) -> bool:
    """Tell whether a stem of the same beginning is there: all but the last two letters, and four at least."""
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
