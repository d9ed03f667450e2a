"""What is known of an item's sentences, whatever the size of the passages that are made of them: a store keeps this.

One analysis serves passages of both of the packer's sizes: a sentence that is too long for the smaller one is cut for
it, and its parts are joined again where the larger one takes it whole.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise

from attrs import define

from nexus_core.contract.features import FeatureKey
from nexus_core.toolkit.text.languages import DEFAULT
from nexus_core.toolkit.text.segmentation import BYTES_PER_TOKEN, Span, byte_length, in_passages, sentences

SIZES = (64, 128)
"""The sizes of passages, in tokens, that the packer uses by default."""
_MOST = tuple(2 * int(size * BYTES_PER_TOKEN) for size in SIZES)
"""The bytes of the longest sentence that stays whole in passages of each: see `segmentation.in_passages`."""


@define(eq=False, repr=False)
class SentenceFigures:
    """An item's sentences, with their stems and tokens."""

    bounds: array[int]
    """Start and end of each sentence in the text, of a long one of each of its parts."""
    tokens: list[int]
    """Of each with the white space before it; -1 where not counted yet."""
    stems: Sequence[int]
    """How many stems each has."""
    codes: bytes
    """The stems, in order."""
    breaks: int
    """A bit for each with something other than a space before it."""
    joined: int
    """A bit for each part that passages of the larger size have in one with the part before."""
    groups: tuple[Sequence[int], Sequence[int]]
    """How many sentences, or parts, each passage has, for both of the sizes."""
    title: int
    """The tokens of the item's title."""
    language: str = DEFAULT
    """Whose stems these are."""


@lru_cache
def figures_key(encoding: str) -> FeatureKey[SentenceFigures]:
    """Return what these are kept under with an item: always the same object, since every item holds on to it."""
    return FeatureKey("sentences", encoding)


def cut(text: str, kind: str, size: int) -> list[list[Span]]:
    """Return the passages of a text, of at most about `size` tokens each, as lists of the spans of their sentences.

    What is too long for the larger size is cut as for the smaller, so that the one can be made of the other.
    """
    found = sentences(text, kind)
    if size == SIZES[1] and not (text.isascii() and max([end - start for start, end in found], default=0) <= _MOST[0]):
        return in_passages(text, _with_parts(text, found), size)
    return in_passages(text, found, size)


def parts_and_groups(text: str, kind: str) -> tuple[list[Span], int, tuple[list[int], list[int]]]:
    """Return the sentences, long ones in parts, with `joined` and `groups` as in `SentenceFigures`."""
    found = sentences(text, kind)
    small = in_passages(text, found, SIZES[0])
    spans = [*chain.from_iterable(small)]
    if len(small) == 1 and len(spans) == len(found):
        return spans, 0, ([len(spans)], [len(spans)])
    whole = spans if len(spans) == len(found) else [*_with_parts(text, found)]
    large = in_passages(text, whole, SIZES[1])
    if len(whole) == len(spans):
        return spans, 0, ([*map(len, small)], [*map(len, large)])
    starts = {start for start, _ in whole}
    joined = sum([1 << place for place, (start, _) in enumerate(spans) if start not in starts])
    places = {start: place for place, (start, _) in enumerate(spans)}
    firsts = [*(places[passage[0][0]] for passage in large), len(spans)]
    return (
        spans,
        joined,
        ([*map(len, small)], [after - first for first, after in pairwise(firsts)]),
    )


def breaks_of(text: str, spans: Sequence[Span]) -> int:
    """Return a bit for each sentence with something other than a space before it."""
    # Digits first: to set one bit of a large number after the other copies it each time.
    digits = ["0" if text[end] == " " else "1" for _, end in spans[-2::-1]]
    return int("".join([*digits, "1"]), 2)


def joined_figures(figures: SentenceFigures) -> SentenceFigures:
    """Return the same with the parts in one that the larger size does not cut."""
    count = len(figures.tokens)
    firsts = [place for place in range(count) if not figures.joined >> place & 1]
    runs = [*zip(firsts, [*firsts[1:], count], strict=True)]
    number = {first: place for place, first in enumerate(firsts)} | {count: len(firsts)}
    ends = [number[end] for end in accumulate(figures.groups[1], initial=0)]
    return SentenceFigures(
        bounds=array("I", [figures.bounds[at] for first, last in runs for at in (2 * first, 2 * last - 1)]),
        tokens=[_joined_tokens(figures, first, last) for first, last in runs],
        stems=[sum(figures.stems[first:last]) for first, last in runs],
        codes=figures.codes,
        breaks=sum([1 << place for place, first in enumerate(firsts) if figures.breaks >> first & 1]),
        joined=0,
        groups=((), [after - first for first, after in pairwise(ends)]),
        title=figures.title,
    )


def _joined_tokens(figures: SentenceFigures, first: int, last: int) -> int:
    """Return the tokens of parts together, -1 where there is no space between two: a word may go on there."""
    inside = figures.breaks >> first + 1 & (1 << last - first - 1) - 1
    return -1 if inside else sum(figures.tokens[first:last])


def _with_parts(text: str, found: Iterable[Span]) -> Iterable[Span]:
    """Yield the sentences for the larger size: those too long for it in the parts of the smaller one.

    What the smaller size cuts begins at the same place in both: parts have no white space at their ends.
    """
    for start, end in found:
        # A character has at most four bytes, so most sentences need no counting.
        if (end - start) * 4 <= _MOST[0] or (length := byte_length(text[start:end])) <= _MOST[0]:
            yield start, end
        elif length <= _MOST[1]:
            yield end - len(text[start:end].lstrip()), end
        else:
            yield from chain.from_iterable(in_passages(text, [(start, end)], SIZES[0]))
