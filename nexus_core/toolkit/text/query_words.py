"""A query as it is compared: its words in each language of what is searched, and what each of them counts.

query_words("Who pays whom?").counts                        -> {"who": 1.0, "pay": 1.0, "whom": 1.0}
query_words("paid parking", ["english", "german"]).forms    -> {"park": ("park", "parking"), ...}

One rule for the rankers, the store, the packer and answers: a word that the query repeats counts 1 + ln n, and the
forms that a word has in several languages are one word. Without that a form that only a few items have, whose language
is another or was guessed wrong, would be the rarest word of all: 18 of 11,429 abstracts cost Vaswani .063 of its nDCG.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise, zip_longest
from math import log
from typing import Generic, TypeVar

from attrs import frozen

from nexus_core.toolkit.text.bm25 import inverse_frequency
from nexus_core.toolkit.text.stemming import STOP_WORDS, PieceTable, pieces, stem_table

Key = TypeVar("Key", bound=Hashable)
Other = TypeVar("Other", bound=Hashable)
Table = PieceTable[tuple[str, ...]]


@frozen(eq=False, repr=False)
class QueryWords(Generic[Key]):
    """The words of a query, as stems, or as what stands for them."""

    counts: Mapping[Key, float]
    """What each word counts, in the order of the query."""
    pairs: Sequence[tuple[Key, Key]]
    """The words that stand side by side, each pair once."""
    forms: Mapping[Key, tuple[Key, ...]]
    """What a word is in all the languages, for those that are not the same in each."""

    @property
    def is_plain(self) -> bool:
        """Whether each word counts 1, and is the same in all languages."""
        return not self.forms and {*self.counts.values()} <= {1.0}

    def weights(self, holding: Mapping[Key, int], total: int) -> dict[Key, float]:
        """Return the weight of each word that any of `total` texts holds: what it counts times how rare it is."""
        weights = {}
        for word, count in self.counts.items():
            held = holding.get(word, 0)
            if held:
                forms = self.forms.get(word)
                every = held if forms is None else sum([holding.get(form, 0) for form in forms])
                weights[word] = count * inverse_frequency(min(every, total), total)
        return weights

    def keyed(self, key: Callable[[Key], Other]) -> QueryWords[Other]:
        """Return the same of what stands for the words."""
        keys = {word: key(word) for word in self.counts}
        return QueryWords(
            {keys[word]: count for word, count in self.counts.items()},
            [(keys[one], keys[other]) for one, other in self.pairs],
            {keys[word]: tuple([keys[form] for form in forms]) for word, forms in self.forms.items()},
        )


def query_words(
    text: str, languages: Sequence[str] = ("english",), *, all_words: bool = False, most: int | None = None
) -> QueryWords[str]:
    """Return the words of a query in each of the languages; of a very long one, at most the first `most` in each.

    A word of the query is stemmed as the words of the items are, whatever the language of the query itself. With
    `all_words` stop words are among them.
    """
    first, *others = [stem_table(each, all_words=all_words) for each in languages] or [stem_table("english")]
    forms: dict[str, dict[str, None]] = {}
    if not others:
        streams = [[stem for piece in pieces(text) for stem in first[piece]][:most]]
    else:
        streams, forms = _in_all(text, (first, *others), most, drop=not all_words and "english" in languages)
    counts: dict[str, float] = {}
    pairs: dict[tuple[str, str], None] = {}
    for stream in streams:
        once = dict.fromkeys(stream, 1.0)
        if len(once) < len(stream):
            once = {word: 1.0 + log(times) for word, times in Counter(stream).items()}
        counts = {word: max(once.get(word, 0.0), counts.get(word, 0.0)) for word in counts | once} if counts else once
        pairs |= dict.fromkeys(pairwise(stream))
    known = {word: tuple(filter(counts.__contains__, found)) for word, found in forms.items() if word in counts}
    return QueryWords(counts, [*pairs], known)


def _in_all(
    text: str, tables: Sequence[Table], most: int | None, *, drop: bool
) -> tuple[list[list[str]], dict[str, dict[str, None]]]:
    """Return the words of each language, those of all that are the same once, and the forms of each word."""
    streams: list[list[str]] = [[] for _ in tables]
    forms: dict[str, dict[str, None]] = {}
    for piece in pieces(text):
        # What English leaves out is no word of another language either: items in it were indexed without.
        parts = _without_stop_words(piece).split() if drop else [piece]
        found = [[stem for part in parts for stem in table[part]][:most] for table in tables]
        for stream, stems in zip(streams, found, strict=True):
            stream += stems
        for together in zip_longest(*found):
            alike = dict.fromkeys([stem for stem in together if stem is not None])
            if len(alike) > 1:
                for stem in alike:
                    forms.setdefault(stem, {}).update(alike)
    distinct = dict.fromkeys(tuple(stream[:most]) for stream in streams)
    return [[*stream] for stream in distinct], forms


def _without_stop_words(piece: str) -> str:
    """Return a piece of text without the stop words of English, but for those in capitals: IT, WHO."""
    return _stop_words().sub(lambda found: found[0] if len(found[0]) > 1 and found[0].isupper() else " ", piece)


@lru_cache(maxsize=1)
def _stop_words() -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.&'’])(?:{'|'.join(sorted(STOP_WORDS))})(?![\w&'’]|\.\w)", re.IGNORECASE)
