"""What is kept with an item for packing: its sentences and passages, their stems and tokens, as a few compact arrays.

Here and not with the packer, since a store keeps them, too: what is counted once is never counted again.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from typing import NamedTuple, cast

from attrs import define, field

from nexus_core.contract.features import FeatureKey
from nexus_core.contract.values import Item
from nexus_core.toolkit.text.bm25 import codes, codes_as_cased
from nexus_core.toolkit.text.languages import DEFAULT, language_of
from nexus_core.toolkit.text.sentence_figures import (
    SIZES,
    SentenceFigures,
    breaks_of,
    cut as cut_text,
    figures_key,
    joined_figures,
)
from nexus_core.toolkit.text.stemming import cased

KEY_LENGTH = 48
"""Characters of a line that it is looked up by: a short key is found sooner, and the rest is compared anyway."""


class KnownPassages(NamedTuple):
    """Lines whose tokens are known, and what stands for them where the rest is counted."""

    key: str
    """The start of the first line."""
    tokens: int
    """Without those of the stand-in."""
    lines: list[str]
    stand_in: str
    """A word, and the end of the last line as far as it may share a word with what follows."""


@define(eq=False, repr=False)
class Passages:
    """An item, cut: one object with all figures in it, so that a look at an item is a short way."""

    bounds: array[int]
    """Start and end of each sentence in the text."""
    firsts: array[int]
    """The first sentence of each passage, and last the number of sentences."""
    tokens: list[int]
    """Of each sentence with the white space before it; -1 where not counted yet."""
    codes: bytes
    """The stems of all passages, in order."""
    lengths: bytes
    """How many stems each passage has."""
    breaks: int
    """A bit for each sentence with something other than a space before it."""
    title: int = -1
    """The tokens of the item's title; -1 where not counted yet."""
    counts: dict[tuple[int, int], int] = field(factory=dict)
    """Of sentences in a row that were counted in one, by the first and the one after the last."""
    known_title: KnownPassages | None = None
    """Kept from the first prompt with the item on, as is the next."""
    known_text: KnownPassages | None = None
    """Of the whole item, where it is one text without breaks between its sentences."""
    language: str = DEFAULT
    """Whose stems the codes are of."""
    title_codes: bytes | None = None
    """The stems of the item's title; `None` where not looked at yet."""


Key = FeatureKey[Passages]
"""What the passages of an item are kept under: their size in tokens, and the encoding."""


@lru_cache
def key_of(size: int, encoding: str) -> Key:
    """Return a key: always the same object, since every item holds on to it."""
    return FeatureKey("passages", (size, encoding))


def passages_of(item: Item, key: Key) -> Passages:
    """Return the passages of an item, of at most about so many tokens each."""
    known = item.features.get(key)
    if known is None:
        size, encoding = cast("tuple[int, str]", key.parameter)
        figures = item.features.get(figures_key(encoding)) if size in SIZES else None
        known = item.features.put(key, _cut(item, size) if figures is None else _of_figures(figures, size))
    return known


def _of_figures(figures: SentenceFigures, size: int) -> Passages:
    """Return the passages of one of the sizes, put together of what is known of the sentences."""
    place = SIZES.index(size)
    if place and figures.joined:
        figures = joined_figures(figures)
    firsts = array("I", accumulate(figures.groups[place], initial=0))
    stems = figures.stems
    return Passages(
        bounds=figures.bounds,
        firsts=firsts,
        tokens=figures.tokens,
        codes=figures.codes,
        lengths=array("I", [sum(stems[first:last]) for first, last in pairwise(firsts)]).tobytes(),
        breaks=figures.breaks,
        title=figures.title,
        language=figures.language,
    )


def counted(item: Item, cut: Passages, first: int, last: int, count: Callable[[str], int]) -> int:
    """Return the tokens of the sentences from `first` up to `last`, each with the white space before it."""
    kept = cut.tokens
    known = kept[first:last]
    if -1 not in known:
        return sum(known)
    bounds, text = cut.bounds, item.text
    if last - first > 1 and not cut.breaks >> first + 1 & (1 << last - first - 1) - 1:
        # Where nothing but spaces divides them, they are counted in one: each alone is where a cut is weighed.
        whole = cut.counts.get((first, last))
        if whole is None:
            whole = count(text[bounds[2 * first - 1] if first else bounds[0] : bounds[2 * last - 1]])
            cut.counts[first, last] = whole
        return whole
    for k in range(first, last):
        if kept[k] < 0:
            kept[k] = count(text[bounds[2 * k - 1] if k else bounds[0] : bounds[2 * k + 1]])
    return sum(kept[first:last])


def count_title(item: Item, cut: Passages, count: Callable[[str], int]) -> int:
    """Return the tokens of a title; something mostly stands before it, and a space costs nothing."""
    if cut.title < 0:
        cut.title = count(f" {item.title}") if item.title else 0
    return cut.title


def title_codes(item: Item, cut: Passages) -> bytes:
    """Return the stems of a title, which has the path of headings in it: each passage is read under it."""
    if cut.title_codes is None:
        cut.title_codes = codes(item.title, cut.language) if item.title else b""
    return cut.title_codes


def _cut(item: Item, size: int) -> Passages:
    text = item.text
    cut = cut_text(text, item.kind, size)
    sentences = [*chain.from_iterable(cut)]
    language = language_of(item)
    compared = cased(text)
    stems = [codes_as_cased(compared[spans[0][0] : spans[-1][1]], language) for spans in cut]
    return Passages(
        bounds=array("I", chain.from_iterable(sentences)),
        firsts=array("I", accumulate(map(len, cut), initial=0)),
        tokens=[-1] * len(sentences),
        codes=b"".join(stems),
        lengths=array("I", [len(passage) // 4 for passage in stems]).tobytes(),
        breaks=breaks_of(text, sentences),
        language=language,
    )
