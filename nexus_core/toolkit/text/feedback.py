"""Pseudo-relevance feedback: the words of the first items found, as further words to search for.

    best_terms([{"dam": 2, "holt": 3}], [1.0], {"dam": 0.4, "holt": 2.1}.__getitem__, count=1)  -> [("holt", 1.0)]

What the first items of a search say most of is taken for what the question means (Rocchio 1971; Lavrenko and Croft
2001). That finds the second step of a question: the name that the first item gives is among its best words. Pure, and
of no kind of term: the rankers count codes of stems, `feedback_words` the stems of texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import TypeVar

from attrs import evolve, frozen

from nexus_core.contract.values import Item
from nexus_core.toolkit.text.bm25 import TITLE_COUNTS, inverse_frequency, length_norm, saturation, terms
from nexus_core.toolkit.text.languages import AUTO, item_languages
from nexus_core.toolkit.text.query_words import QueryWords
from nexus_core.toolkit.text.stemming import pieces, stem_table

_LONGEST = 4_000
"""Characters of an item that are looked at: an item may be a whole book."""
_SHORTEST_WORD = 2
"""Characters: single letters and digits are in too many texts."""

ADDED_WORDS, ADDED_WEIGHT = 20, 0.3
"""What a ranker adds to a query, as RM3 has it: so many words, the first with this part of what a word of it counts."""
_LEAST_HELD = 2
"""Words that one item alone has lead nowhere else."""

_EDGES = re.compile(r"^\W+|(?:['’]s)?\W*$")

_Term = TypeVar("_Term")


@frozen(eq=False, repr=False)
class FoundItem:
    """An item that is taken for relevant."""

    item: Item
    language: str
    score: float


def best_terms(
    counts: Sequence[Mapping[_Term, float]],
    weights: Sequence[float],
    rarity: Callable[[_Term], float],
    *,
    count: int,
    without: Collection[_Term] = (),
) -> list[tuple[_Term, float]]:
    """Return the terms that say most of some texts, best first, each with its weight against 1 for the best.

    `counts` says how much of each term a text has, `weights` how much each text is trusted. Terms of one weight stand
    in the order in which the texts have them.
    """
    totals: dict[_Term, float] = {}
    for held, weight in zip(counts, weights, strict=True):
        for term, value in held.items():
            totals[term] = totals.get(term, 0.0) + weight * value
    known = set(without)
    worth = {term: total * rarity(term) for term, total in totals.items() if term not in known}
    best = sorted(worth, key=worth.__getitem__, reverse=True)[:count]
    most = worth[best[0]] if best else 0.0
    return [(term, worth[term] / most) for term in best if worth[term] > 0]


def word_shares(found: Sequence[FoundItem]) -> dict[str, float]:
    """Return for each word of some items its share of their words, the items weighted by their scores."""
    total: dict[str, float] = {}
    whole = sum([each.score for each in found]) or 1.0
    for each in found:
        counts = Counter(terms(f"{each.item.title} {each.item.text}", each.language))
        part = each.score / whole / max(counts.total(), 1)
        for stem, count in counts.items():
            total[stem] = total.get(stem, 0.0) + part * count
    return total


def with_feedback(
    asked: QueryWords[str], found: Sequence[FoundItem], holding: Mapping[str, int], size: int
) -> QueryWords[str]:
    """Return a query with the words that stand out in some items; `holding` tells how many of all have each."""
    shares = {stem: share for stem, share in word_shares(found).items() if holding.get(stem, 0) >= _LEAST_HELD}
    best = best_terms([shares], [1.0], lambda stem: inverse_frequency(holding[stem], size), count=ADDED_WORDS)
    counts = dict(asked.counts)
    for stem, weight in best:
        counts[stem] = counts.get(stem, 0.0) + ADDED_WEIGHT * weight
    return evolve(asked, counts=counts)


def feedback_words(
    query: str,
    items: Sequence[Item],
    scores: Sequence[float],
    *,
    first: int,
    count: int,
    language: str = AUTO,
) -> list[str]:
    """Return `count` words of the `first` items that say most of them and are not of the query, as they are written.

    `items` are what a search has found, best first, with their scores. How rare a word is, is judged by all of them.
    Items without a score above 0 are no help; then there are no words.
    """
    good = [place for place, score in enumerate(scores[:first]) if score > 0]
    if not good:
        return []
    languages = item_languages(items, language)
    asked = {stem for own in dict.fromkeys(languages) for stem in terms(query, own)}
    mean = sum(len(item.text) for item in items) / len(items)
    spelled: dict[str, str] = {}
    counts = []
    for place in good:
        item, norm = items[place], length_norm(len(items[place].text), mean)
        counts.append({s: saturation(n, norm) for s, n in _counted(item, languages[place]).items()})
        spelled = _spelled(item, languages[place]) | spelled
    holding = _holding(items, languages, {stem for held in counts for stem in held})
    best = best_terms(
        counts,
        [scores[place] / scores[good[0]] for place in good],
        lambda stem: inverse_frequency(holding[stem], len(items)),
        count=count,
        without=asked,
    )
    return [*dict.fromkeys(spelled[stem] for stem, _ in best)]


def _counted(item: Item, language: str) -> Counter[str]:
    """Return how often an item has each stem, those of its title as often as they count."""
    stems = terms(item.title, language) * TITLE_COUNTS + terms(item.text[:_LONGEST], language)
    return Counter(stem for stem in stems if len(stem) >= _SHORTEST_WORD)


def _holding(items: Sequence[Item], languages: Sequence[str], wanted: Set[str]) -> Counter[str]:
    """Return how many items hold each of some stems."""
    holding: Counter[str] = Counter()
    for item, language in zip(items, languages, strict=True):
        table = stem_table(language)
        held = {*pieces(item.title), *pieces(item.text[:_LONGEST])}
        holding.update(wanted & {stem for piece in held for stem in table[piece]})
    return holding


def _spelled(item: Item, language: str) -> dict[str, str]:
    """Return a word for each stem of an item: the one it stands in first, without the signs around it.

    A piece of a script without spaces is a whole sentence, and a part of an identifier no piece: such stems stand for
    themselves.
    """
    table = stem_table(language)
    found: dict[str, str] = {}
    for piece in pieces(f"{item.title} {item.text[:_LONGEST]}"):
        bare = _EDGES.sub("", piece)
        for place, stem in enumerate(table[piece]):
            if stem not in found:
                found[stem] = bare if place == 0 and len(bare) < 2 * len(stem) else stem
    return found
