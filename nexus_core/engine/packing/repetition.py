"""What has been packed, and what of other passages says the same: no passage is sent twice, whichever item it is from.

A passage says what was said already if over 60 % of its word triples stand in what was taken of one item and it has no
new number: of it only sentences are left that are new and differ in more than a word. Two near-copies of every item
added to HotpotQA cost a third of the answers without this, and next to none with it. Of a passage that is new as a
whole, the sentences that were said word for word are left out: two files with the same paragraphs are rarely cut into
the same passages.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from nexus_core.contract.features import FeatureKey
from nexus_core.contract.values import Item
from nexus_core.toolkit.text.bm25 import codes
from nexus_core.toolkit.text.languages import DEFAULT
from nexus_core.toolkit.text.passages import Passages

SAME = 0.6
"""The share of word triples from which on a passage says the same as what was taken of another item."""
SAME_SENTENCE = 0.85
"""The same for a single sentence: of fewer words, one that differs may be what it is about."""
SAME_IN_ALL = 0.95
"""The same where it is found in several items together."""
OWN_WORDS = 2
"""Words that a sentence of a near duplicate has besides the original's: one may be a typo, or exchanged."""
LEAST = 5
"""Word triples of a sentence that is left out alone: shorter ones are turns of phrase."""
_GRAMS = FeatureKey[tuple[int, frozenset[int]]]("grams")
"""Of a text: how many of its places come twice, and the places, four stems each."""
_SUSPECTS = 3
"""So many of the texts that hold most of it are looked at for its numbers."""
_FEW_SHARED = 3
"""Places that a text and another may have in common by chance."""
_LONG = 4000
"""Stems of an item from which on every eighth place is compared."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

Triple = tuple[int, int, int]


def triples_of(stems: bytes) -> list[Triple]:
    """Return each three stems in a row."""
    known = array("I", stems)
    return list(zip(known, known[1:], known[2:], strict=False))


class Repetition:
    """The words that were taken so far, and whose they are."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Item, str, bytes | None]] = []
        """Taken, and not looked at yet: where nothing is suspect nobody asks."""
        self._texts: list[tuple[Item, str, bytes]] = []
        """Taken, each with its stems: each suspect text is held against those of its original."""
        self._said: dict[Triple, int] = {}
        """For each triple the number of the text that it was taken with last."""

    def add(self, item: Item, text: str, stems: bytes | None = None) -> None:
        """Remember what is taken of an item; its stems are worked out where they are not given."""
        self._waiting.append((item, text, stems))

    def original(self, item: Item, text: str, stems: bytes | None = None, *, share: float = SAME) -> Item | None:
        """Return the item that says more than a `share` of what a text of `item` says, `None` if it is new.

        The lines of one program are not held against each other: there, what is alike is not the same.
        """
        self._look()
        triples = triples_of(codes(text) if stems is None else stems)
        if not triples:
            return None
        own = item.id if item.kind == "code" else None
        found = [self._said[triple] for triple in triples if triple in self._said]
        holders = Counter(number for number in found if self._texts[number][0].id != own)
        if holders.total() <= share * len(triples):
            return None
        by_item = Counter[str]()
        for number, count in holders.items():
            by_item[self._texts[number][0].id] += count
        most, count = by_item.most_common(1)[0]
        if count <= share * len(triples) and holders.total() < SAME_IN_ALL * len(triples):
            return None
        numbers = set(_NUMBER.findall(text))
        if numbers:
            numbers.difference_update(*(self._numbers(number) for number, _ in holders.most_common(_SUSPECTS)))
        return None if numbers else self._texts[next(n for n in holders if self._texts[n][0].id == most)][0]

    def originals(self, item: Item, sentences: Sequence[str], of: Item | None = None) -> list[Item | None]:
        """Return for each of some sentences in a row the item that says it, `None` if it is new.

        Short ones count where several of them stand in a row: alone they are turns of phrase. In a near duplicate `of`
        an item those are new that say something else in words of their own.
        """
        if of is not None:
            known = {stem for taken, _, stems in self._texts if taken.id == of.id for stem in array("I", stems)}
            own = [len(set(array("I", codes(text))) - known) >= OWN_WORDS for text in sentences]
            return [self.original(item, text) if new else of for text, new in zip(sentences, own, strict=True)]
        found = [self.original(item, text, share=SAME_SENTENCE) for text in sentences]
        start = 0
        for end in range(len(found) + 1):
            if end == len(found) or found[end] is None:
                if start < end and len(triples_of(codes(" ".join(sentences[start:end])))) < LEAST:
                    found[start:end] = [None] * (end - start)
                start = end + 1
        return found

    def _numbers(self, number: int) -> list[str]:
        return _NUMBER.findall(self._texts[number][1])

    def _look(self) -> None:
        for item, text, stems in self._waiting:
            own = codes(text) if stems is None else stems
            self._said.update(dict.fromkeys(triples_of(own), len(self._texts)))
            self._texts.append((item, text, own))
        self._waiting.clear()


def stems_of_passage(cut: Passages, number: int) -> bytes | None:
    """Return the stems of one passage of an item, `None` where they are not those that texts are compared by here.

    What is said twice is said in the same words: all texts are compared by the stems of one language.
    """
    if cut.language != DEFAULT:
        return None
    lengths = array("I", cut.lengths)
    begin = sum(lengths[:number])
    return cut.codes[4 * begin : 4 * (begin + lengths[number])]


def may_repeat(items: Iterable[Item]) -> bool:
    """Tell quickly whether anything in some items is said twice; what is short and not the same throughout is not."""
    known: set[int] = set()
    shared = 0
    for item in items:
        count, grams = item.features.get(_GRAMS) or _keep_grams(item)
        shared += len(known.intersection(grams)) + (count if item.kind != "code" else 0)
        known |= grams
    return shared >= _FEW_SHARED


def repeats(
    given: Iterable[Item], items: Iterable[Item], cut_of: Callable[[Item], Passages], *, whole: bool = False
) -> bool:
    """Tell whether a passage of the items, or a sentence, says what one before it says, or what is `given`.

    Only passages count if `whole`, and in programs.
    """
    said = Repetition()
    for item in given:
        said.add(item, item.text)
    for item in items:
        cut = cut_of(item)
        for number in range(len(cut.firsts) - 1):
            first, last = cut.firsts[number], cut.firsts[number + 1]
            spans = [] if whole or item.kind == "code" else pairwise(range(first, last + 1))
            passage, *sentences = [
                item.text[cut.bounds[2 * begin] : cut.bounds[2 * end - 1]] for begin, end in [(first, last), *spans]
            ]
            if said.original(item, passage) or any(said.originals(item, sentences)):
                return True
            said.add(item, passage)
    return False


def _keep_grams(item: Item) -> tuple[int, frozenset[int]]:
    """Keep with an item the places of its text, four stems each, and how many of them come twice."""
    stems = array("I", codes(item.text))
    places = [hash(four) for four in zip(stems, stems[1:], stems[2:], stems[3:], strict=False)]
    if len(places) > _LONG:
        places = [place for place in places if not place % 8]
    grams = frozenset(places)
    return item.features.put(_GRAMS, (len(places) - len(grams), grams))
