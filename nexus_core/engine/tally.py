"""Counts a message whose lines were mostly counted before, without a tokenizer.

Tokenizers cut a text into words before anything else, and where they always cut, counts add up: see toolkit/tokens.py
and toolkit/pieces.py. Known lines may therefore be counted apart, but for what their end may share with the line break.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from nexus_core.engine.slot import Slot, ones

Known = Mapping[str, tuple[int, list[str]]]
"""Texts by their first line: the tokens and all lines. A key that starts with a space is what stands in a line after
its first space, such as a title after its number."""

_LONGEST_TAIL = 6
_STAND_IN = "x"
"""A word of one token that stands for what was counted before."""
_MAY_GO_ON = ("", "/", *(chr(code) for code in range(0x3001) if chr(code).isspace()))
"""What a line begins with that may share a word with the one before."""


def tally(content: str, known: Known, count: Callable[[str], int]) -> int:
    """Return the tokens of `content`, given those of some of its lines."""
    # Most of what is left to count is the same after each item: a stop, a blank line.
    counted = _Counted(count)
    total = place = 0
    lines = content.split("\n")
    pending = ""
    while place < len(lines):
        line = lines[place]
        head, found = "", known.get(line)
        if found is None and (space := line.find(" ") + 1) > 1:
            head, found = line[:space], known.get(line[space - 1 :])
        end = place + 1
        if found is not None:
            tokens, whole = found
            tail = _tail(whole[-1])
            if tail is not None and (len(whole) == 1 or lines[end : place + len(whole)] == whole[1:]):
                total += tokens - counted[head[-1:] + _STAND_IN] - counted[tail]
                line = f"{head}{_STAND_IN}{tail}"
                end = place + len(whole)
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
    def __init__(self, count: Callable[[str], int]) -> None:
        super().__init__()
        self._count = count

    def __missing__(self, text: str) -> int:
        tokens = self[text] = self._count(text)
        return tokens


def known_lines(texts: Iterable[tuple[Slot, str]], gap: int, count: Callable[[str], int]) -> Known:
    """Return the tokens of the titles of slots and of the lines that are chosen of them; `gap` is a gap's mark."""
    known: dict[str, tuple[int, list[str]]] = {}
    for slot, text in texts:
        title, chosen = slot.item.title, slot.chosen
        if title and title.isprintable() and title == title.strip():
            known[f" {title}"] = (slot.cut.title, [title])
        if slot.item.kind == "text" and not chosen & slot.cut.breaks & ~(chosen & -chosen):
            _add(known, slot, chosen, text, slot.tokens - slot.header, count)
            continue
        for together in _lines(slot):
            gaps = (together & ~(together << 1)).bit_count() - 1
            tokens = sum([slot.cut.tokens[k] for k in ones(together)]) + gaps * gap
            _add(known, slot, together, slot.text_of(together), tokens, count)
    return known


def _add(
    known: dict[str, tuple[int, list[str]]],
    slot: Slot,
    chosen: int,
    text: str,
    tokens: int,
    count: Callable[[str], int],
) -> None:
    before = _before(slot, (chosen & -chosen).bit_length() - 1, count)
    if before is not None and text[0] != "/":
        lines = text.split("\n")
        known[lines[0]] = (tokens - before, lines)


def _lines(slot: Slot) -> Iterator[int]:
    """Yield sentences that stand together, as bits: anything but a space between two of them divides."""
    left, breaks = slot.chosen, slot.chosen & slot.cut.breaks
    if slot.item.kind != "text":
        breaks |= left & ~(left << 1)
    while left:
        breaks &= ~(left & -left)
        together = left & (breaks & -breaks) - 1 if breaks else left
        yield together
        left &= ~together


def _before(slot: Slot, k: int, count: Callable[[str], int]) -> int | None:
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
