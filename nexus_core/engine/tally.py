"""Counts a message whose parts were mostly counted before, without a tokenizer.

Tokenizers cut a text into words before anything else, and where they always cut, counts add up: see toolkit/tokens.py
and toolkit/pieces.py. A known text may therefore stand for itself wherever both of its ends are such places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from nexus_core.engine.slot import Slot, runs

Known = tuple[str, int]
"""A text and its tokens."""

_LONGEST_TAIL = 6
_SHORT = 32
"""In characters."""


def tally(content: str, known: Iterable[Known], count: Callable[[str], int]) -> int:
    """Return the tokens of `content`; `known` are texts that are in it, in their order, as far as they are."""
    total = done = 0
    for text, tokens in known:
        place = content.find(text, done)
        if place < 0 or not _starts_apart(content, place) or text[-1].isspace():
            continue
        end = place + len(text)
        tail = _tail(content, end)
        if tail is None:
            continue
        total += _short(count, content[done:place]) + tokens - (_short(count, tail) if tail else 0)
        done = end - len(tail)
    return total + count(content[done:])


def _short(count: Callable[[str], int], text: str) -> int:
    return _remembered(count, text) if len(text) <= _SHORT else count(text)


@lru_cache(maxsize=1 << 12)
def _remembered(count: Callable[[str], int], text: str) -> int:
    """Count what stands between known texts: numbers and line breaks, mostly."""
    return count(text)


def known_texts(slot: Slot, count: Callable[[str], int]) -> Iterator[Known]:
    """Yield an item's title and what is chosen of it, in pieces whose tokens follow from those of its sentences."""
    if slot.item.title and slot.item.title.isprintable() and slot.item.title == slot.item.title.strip():
        yield f" {slot.item.title}", slot.cut.title
    for place, (first, last) in enumerate(runs(slot.chosen)):
        start = first
        # Where anything but a space divides two sentences, a new piece begins.
        breaks = slot.cut.breaks >> first + 1
        while breaks and (length := (breaks & -breaks).bit_length()) < last - start:
            yield from _stretch(slot, start, start + length, place > 0, count)
            breaks >>= length
            start += length
        yield from _stretch(slot, start, last, place > 0, count)


def _stretch(slot: Slot, first: int, last: int, after_gap: bool, count: Callable[[str], int]) -> Iterator[Known]:
    """Yield the sentences from `first` up to `last`, divided by spaces, as one text, if what begins it can be told."""
    bounds, text = slot.cut.bounds, slot.item.text
    start, end, tokens = bounds[2 * first], bounds[2 * last - 1], sum(slot.cut.tokens[first:last])
    if first:
        white = text[bounds[2 * first - 1] : start]
        if white == " " and after_gap:
            start -= 1
        elif white == " ":
            # The first word stands without its space here, and was counted with it.
            space = text.find(" ", start, end)
            if space < 0:
                return
            start, tokens = space, tokens - count(text[start - 1 : space])
        elif white[-1:] == "\n":
            tokens -= count(white)
        else:
            return
    yield text[start:end], tokens


def _starts_apart(content: str, place: int) -> bool:
    """Tell whether a word surely starts at `place`: at a space after something, or after a line break."""
    first, before = content[place], content[place - 1 : place]
    if first == " ":
        return bool(before) and not before.isspace()
    return before in ("", "\n") and first != "/" and not first.isspace()


def _tail(content: str, end: int) -> str | None:
    """Return what before `end` may share a word with what follows: "" for nothing, `None` if that is not sure."""
    if content[end : end + 1] in ("", " "):
        return ""
    if content[end - 1] == "." and content[end - 2 : end - 1].isalpha() and content[end - 2].isascii():
        return "."
    # A letter and what is neither letter nor apostrophe are two words, and so are a digit and what is no digit.
    start = end
    while start and end - start <= _LONGEST_TAIL and not _is_word(content[start - 1]) and content[start - 1].isascii():
        start -= 1
    last, following = content[start - 1 : start], content[start]
    if not last or not last.isascii() or not _is_word(last) or not following.isascii() or following == "'":
        return None
    if following.isdigit() if last.isdigit() else following.isalpha():
        return None
    return content[start:end]


def _is_word(character: str) -> bool:
    return character.isalnum()
