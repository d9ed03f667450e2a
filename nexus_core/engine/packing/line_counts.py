"""Token counts of lines: a message whose lines were mostly counted before is counted without a tokenizer.

Tokenizers cut a text into words before anything else, and where they always cut, counts add up: see
toolkit/tokens/counter.py and splitting.py. Known lines may therefore be counted apart, but for what their end may share
with the line break.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from attrs import frozen

from nexus_core.contract.values import Item
from nexus_core.engine.packing.item_selection import ItemSelection, runs
from nexus_core.toolkit.text.passages import (
    KEY_LENGTH,
    Key,
    KnownPassages,
    Passages,
    count_title,
    counted,
    key_of,
    passages_of,
)

Knowns = Mapping[str, KnownPassages]
"""Texts by the start of their first line. One that starts with a space is what stands in a line after its first space,
such as a title after its number."""

Count = Callable[[str], int]

_LONGEST_TAIL = 6
_STAND_IN = "x"
"""A word of one token that stands for what was counted before."""
_MAY_GO_ON = frozenset(["", "/", *(chr(code) for code in range(0x3001) if chr(code).isspace())])
"""What a line begins with that may share a word with the one before."""


def count_message(content: str, known: Knowns, count: Count) -> int:
    """Return the tokens of `content`, given those of some of its lines."""
    # Most of what is left to count is the same after each item: a stop, a blank line.
    counted = _Counted(count)
    total = place = 0
    lines = content.split("\n")
    pending = ""
    while place < len(lines):
        line = lines[place]
        if not line:
            place += 1
            pending += "\n" if place < len(lines) else ""
            continue
        space = 0
        found = known.get(line[:KEY_LENGTH])
        if found is None and (space := line.find(" ")) > 0:
            found = known.get(line[space : space + KEY_LENGTH])
        end = place + 1
        if found is not None:
            _, tokens, whole, stand_in = found
            last = place + len(whole)
            if line[space:] == whole[0] and (last == end or lines[end:last] == whole[1:]):
                total += tokens
                line = line[:space] + stand_in
                end = last
        if line[:1] in _MAY_GO_ON:
            pending += line
        else:
            total += counted[pending]
            pending = line
        place = end
        if place < len(lines):
            pending += "\n"
    return total + counted[pending]


class _Counted(dict[str, int]):
    def __init__(self, count: Count) -> None:
        super().__init__()
        self._count = count

    def __missing__(self, text: str) -> int:
        tokens = self[text] = self._count(text)
        return tokens


def known_lines(texts: Iterable[tuple[ItemSelection, str]], gap: int, count: Count) -> Knowns:
    """Return the titles of slots and the lines that are chosen of them; `gap` is the tokens of a gap's mark."""
    found: dict[str, KnownPassages] = {}
    for slot, text in texts:
        cut, chosen = slot.cut, slot.chosen
        title = cut.known_title or _title(slot, count)
        if title is not None:
            found[title.key] = title
        if slot.item.kind == "text" and not chosen & cut.breaks & ~(chosen & -chosen):
            known = (slot.whole and cut.known_text) or _in_one(slot, text, count)
            if known is not None:
                found[known.key] = known
        else:
            found.update((known.key, known) for known in _in_pieces(slot, gap, count))
    return found


def _title(slot: ItemSelection, count: Count) -> KnownPassages | None:
    title, cut = slot.item.title, slot.cut
    if title and title.isprintable() and title == title.strip():
        cut.known_title = _known([f" {title}"], cut.title, count)
    return cut.known_title


def _in_one(slot: ItemSelection, text: str, count: Count) -> KnownPassages | None:
    """Return what is chosen where nothing but spaces and gaps divides it; of an item that is whole it is kept."""
    known = _at_line_starts(slot, slot.chosen, text, slot.tokens - slot.header, count)
    if slot.whole:
        slot.cut.known_text = known
    return known


def _in_pieces(slot: ItemSelection, gap: int, count: Count) -> Iterator[KnownPassages]:
    """Yield what is chosen in pieces that begin and end lines."""
    for together in _lines(slot):
        chosen = runs(together)
        tokens = sum([counted(slot.item, slot.cut, *run, count) for run in chosen]) + (len(chosen) - 1) * gap
        known = _at_line_starts(slot, together, slot.text_of(together), tokens, count)
        if known is not None:
            yield known


def _at_line_starts(slot: ItemSelection, chosen: int, text: str, tokens: int, count: Count) -> KnownPassages | None:
    """Return sentences that begin a line, though they were counted with the white space before them."""
    before = _before(slot, (chosen & -chosen).bit_length() - 1, count)
    return None if before is None else _known(text.split("\n"), tokens - before, count)


def _known(lines: list[str], tokens: int, count: Count) -> KnownPassages | None:
    tail = _tail(lines[-1])
    if tail is None or lines[0][:1] == "/":
        return None
    stand_in = f" {_STAND_IN}" if lines[0][0] == " " else _STAND_IN
    return KnownPassages(lines[0][:KEY_LENGTH], tokens - count(stand_in) - count(tail), lines, stand_in + tail)


def _lines(slot: ItemSelection) -> Iterator[int]:
    """Yield sentences that stand together, as bits: anything but a space between two of them divides."""
    left, breaks = slot.chosen, slot.chosen & slot.cut.breaks
    if slot.item.kind != "text":
        breaks |= left & ~(left << 1)
    while left:
        breaks &= ~(left & -left)
        together = left & (breaks & -breaks) - 1 if breaks else left
        yield together
        left &= ~together


def _before(slot: ItemSelection, k: int, count: Count) -> int | None:
    """Return what of a sentence's tokens belongs to the white space before it, `None` if that is not sure."""
    if not k:
        return 0
    bounds, text = slot.cut.bounds, slot.item.text
    white = text[bounds[2 * k - 1] : bounds[2 * k]]
    if white == " ":
        word = text[bounds[2 * k] : bounds[2 * k + 1]].partition(" ")[0]
        return count(f" {word}") - count(word)
    return count(white) if white[-1:] == "\n" else None


def _tail(line: str) -> str | None:
    """Return what of a line may share a word with the break after it, `None` if it is not sure where a word ends."""
    if line[-1:] == "." and line[-2:-1].isalpha() and line[-2].isascii():
        return "."
    # A letter and what is neither letter nor apostrophe are two words, and so are a digit and what is no digit.
    end = start = len(line)
    while start and end - start <= _LONGEST_TAIL and not line[start - 1].isalnum() and line[start - 1].isascii():
        start -= 1
    last = line[start - 1 : start]
    sure = last.isalnum() and last.isascii() and line[start : start + 1] != "'"
    return line[start:] if sure else None


@frozen(kw_only=True, eq=False, repr=False)
class TokenCosts:
    """The prices of one template with one encoding; what is counted is kept with the items."""

    count: Callable[[str], int]
    encoding: str
    size: int
    """Of the passages, in tokens."""
    gap: int
    """The mark of a gap."""
    per_item: int = 0
    """What the template puts around an item, its title aside."""

    @property
    def key(self) -> Key:
        """What the counts are kept under."""
        return key_of(self.size, self.encoding)

    def counted(self, item: Item, cut: Passages, first: int, last: int) -> int:
        """Return the tokens of the sentences from `first` up to `last`, each with the white space before it."""
        return counted(item, cut, first, last, self.count)

    def whole(self, item: Item) -> int:
        """Return the tokens of an item's text."""
        cut = passages_of(item, self.key)
        return self.counted(item, cut, 0, len(cut.tokens))

    def title(self, item: Item) -> int:
        """Return the tokens of a title; something mostly stands before it, and a space costs nothing."""
        return count_title(item, passages_of(item, self.key), self.count)

    def header(self, item: Item, cut: Passages) -> int:
        """Return what an item costs before any text."""
        return self.per_item + (cut.title if cut.title >= 0 else self.title(item))
