"""The passages that a draft's best items offer, each with what it is worth for the query.

What is worked out for an item (its sentences, passages and stems) is kept with it, as a few compact arrays.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from attrs import frozen

from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import Item
from nexus_core.engine.few import FEW_ITEMS, FEW_STEMS, FewStems, FewTriples
from nexus_core.engine.few import best_first as best_of_few
from nexus_core.toolkit.lexical import codes
from nexus_core.toolkit.text import Span, passages

if TYPE_CHECKING:
    from nexus_core.engine.worth import Triples

_DEPTH = 2.0
"""Items are considered until they hold about so many times what fits ..."""
_AT_LEAST = 50
"""... and are at least so many.

Deeper does not find more: on squad, squad-sections, hotpot100 and scifact the mean recall at 256 to 4,096 tokens is the
same within .002 from 1.5 times and 30 items to 4 times and 50."""
_UNRANKED = 1000
"""How many items are considered where no ranker has said which are the best."""


@frozen
class Passages:
    """An item, cut."""

    bounds: array[int]
    """Start and end of each sentence in the text."""
    firsts: array[int]
    """The first sentence of each passage, and last the number of sentences."""
    codes: bytes
    """The stems of all passages, in order."""
    lengths: bytes
    """How many stems each passage has."""
    breaks: int
    """A bit for each sentence with something other than a space before it."""


def passages_of(item: Item, size: int) -> Passages:
    """Return the passages of an item of at most about `size` tokens each."""
    key = _key(size)
    known: Passages | None = item.derived.get(key)
    if known is None:
        known = item.derived[key] = _cut(item, size)
    return known


@lru_cache
def _key(size: int) -> tuple[str, int]:
    """Return what the passages are kept under: one object, since every item holds on to it."""
    return ("passages", size)


def _cut(item: Item, size: int) -> Passages:
    text = item.text
    cut = passages(text, item.kind, size)
    stems = [codes(text[spans[0][0] : spans[-1][1]]) for spans in cut]
    return Passages(
        bounds=array("I", chain.from_iterable(chain.from_iterable(cut))),
        firsts=array("I", accumulate(map(len, cut), initial=0)),
        codes=b"".join(stems),
        lengths=array("I", [len(passage) // 4 for passage in stems]).tobytes(),
        breaks=_breaks(text, list(chain.from_iterable(cut))),
    )


def _breaks(text: str, sentences: list[Span]) -> int:
    bits = 1
    for k in range(1, len(sentences)):
        if text[sentences[k - 1][1]] != " ":
            bits |= 1 << k
    return bits


@frozen
class Pool:
    """Items in rank order, and their passages, numbered from the first item's first on."""

    items: list[int]
    """Indices in the ranking's items."""
    cuts: list[Passages]
    starts: list[int]
    """The number of each item's first passage."""
    item_of: list[int]
    """For each passage the place of its item in `items`."""
    order: list[int]
    """The passages, best first."""
    triples: Triples | FewTriples
    complete: bool
    """Whether these are all items there are."""


def pool_of(
    ranking: Ranking, query: str, size: int, characters: int, without: frozenset[int] = frozenset(), depth: float = 1.0
) -> Pool:
    """Return the passages worth a look where `characters` fit, but those of the items `without`.

    `depth` says how many times as many items as usual are looked at.
    """
    chosen, cuts = _considered(ranking, size, depth, int(characters * depth * _DEPTH), without)
    counts = [len(cut.firsts) - 1 for cut in cuts]
    item_of = [place for place, count in enumerate(counts) for _ in range(count)]
    scores = None if ranking.scores is None else [float(ranking.scores[index]) for index in chosen]
    few = len(ranking.items) <= FEW_ITEMS
    order, triples = _ordered(cuts, codes(query), item_of, scores, few=few)
    return Pool(
        items=chosen,
        cuts=cuts,
        starts=[0, *accumulate(counts)],
        item_of=item_of,
        order=order,
        triples=triples,
        complete=len(chosen) + len(without) == len(ranking.items),
    )


def _ordered(
    cuts: list[Passages], query: bytes, item_of: list[int], scores: list[float] | None, *, few: bool
) -> tuple[list[int], Triples | FewTriples]:
    """Return the passages, best first, and their triples."""
    stems, lengths = [cut.codes for cut in cuts], [cut.lengths for cut in cuts]
    if few and sum(map(len, stems)) <= 4 * FEW_STEMS:
        pool = FewStems.read(stems, lengths)
        return best_of_few(pool.worth(query), item_of, scores), pool.triples()
    # Here, since it imports numpy.
    from nexus_core.engine.worth import Stems, best_first

    many = Stems.read(stems, lengths)
    return best_first(many.worth(query), item_of, scores), many.triples()


def _considered(
    ranking: Ranking, size: int, depth: float, wanted: int, without: frozenset[int]
) -> tuple[list[int], list[Passages]]:
    """Return the items in rank order, as deep as there may be something to choose."""
    chosen: list[int] = []
    cuts: list[Passages] = []
    least = int((_AT_LEAST if ranking.scores is not None else _UNRANKED) * depth)
    held = 0
    for index in _best_first(ranking, least + len(without)):
        if len(chosen) >= least and held >= wanted:
            break
        if index not in without:
            item = ranking.items[index]
            chosen.append(index)
            cuts.append(passages_of(item, size))
            held += len(item.text)
    return chosen, cuts


def _best_first(ranking: Ranking, count: int) -> Iterator[int]:
    """Yield all indices, best first, asking for `count` at first and then for twice as many each time."""
    done = 0
    while done < len(ranking.items):
        yield from ranking.order(count)[done:]
        done, count = count, 2 * count
