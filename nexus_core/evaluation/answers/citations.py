"""Citations: the sentences of an answer, and the numbers of the passages that each of them cites.

A citation is what the packaged templates ask for: `[1]`, `[2][5]`; `[1, 2]` and `[1-3]` are read, too. It belongs to
the sentence that it stands in. Where it follows the full stop it belongs to the sentence before, if that has none, and
on a line of its own to all of its paragraph that has none: so lists, tables and code are cited.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import define, frozen

from nexus_core.toolkit.text.segmentation import sentences

_NUMBERS = r"\[\s*\d+(?:\s*[,;–-]\s*\d+)*\s*\]"
_CITATION = re.compile(rf"(?<![^\S\n])[^\S\n]*{_NUMBERS}(?!\()")  # from the first blank on: each is looked at once
_LEADING = re.compile(rf"(?:\s*{_NUMBERS}(?!\())+[.!?。！？]?\s*")
_STOP_BEFORE = re.compile(rf"([.!?…。！？])(?={_NUMBERS}(?!\())")
"""Sentences end at white space, which is not always there: `It is so.[1] Next`."""
_PART = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")
_LIST_MARK = re.compile(r"\s*(?:[-*+•>|]\s*|\d{1,3}[.)]\s+|#{1,6}\s+)+")
_WORD = re.compile(r"\w")
_DIGITS = 4
"""A number with more of them is one of no passage, as for `Answer.cited_items`; it is read as `_BEYOND` at least."""
_BEYOND = 10_000
_LONGEST_NUMBER = 9
"""So many digits of one are read."""
_LONGEST_RANGE = 50
"""`[1-3]` is a range, and what is longer than this is not: perhaps years."""


@frozen
class CitedSentence:
    """A sentence of an answer, without its citations and list marks."""

    text: str
    cited: tuple[int, ...] = ()
    """The numbers of passages, in their order, each once."""


def without_citations(text: str) -> str:
    """Return an answer without its citations."""
    return _CITATION.sub("", text)


def cited_sentences(text: str) -> list[CitedSentence]:
    """Return the sentences of an answer that have a word in them."""
    text = _STOP_BEFORE.sub(r"\1 ", text)
    parts: list[_Part] = []
    end = 0
    for start, stop in sentences(text, "markdown"):
        part = _Part(text[start:stop], text[end:start])
        end = stop
        leading = _LEADING.match(part.text)
        if leading and parts and (leading.end() == len(part.text) or not parts[-1].cited):
            _give_back(parts, leading[0], alone="\n" in part.before)
            part = _Part(part.text[leading.end() :], part.before)
        part.cited += _numbers(part.text)
        parts.append(part)
    cut = ((_LIST_MARK.sub("", without_citations(part.text), count=1).strip(), part.cited) for part in parts)
    return [CitedSentence(words, tuple(dict.fromkeys(cited))) for words, cited in cut if _WORD.search(words)]


@define
class _Part:
    text: str
    before: str
    """The white space before it."""
    cited: tuple[int, ...] = ()


def _give_back(parts: list[_Part], citations: str, *, alone: bool) -> None:
    """Let citations belong to the sentence before or, where they stand alone, to all that have none."""
    numbers = _numbers(citations)
    if not alone or parts[-1].cited:
        parts[-1].cited += numbers
        return
    for part in reversed(parts):
        if part.cited:
            return
        part.cited = numbers
        if part.before.count("\n") > 1:
            return


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(number for found in _CITATION.findall(text) for number in _of_citation(found))


def _of_citation(citation: str) -> Iterator[int]:
    for first, last in _PART.findall(citation):
        begin, end = _number(first), _number(last or first)
        if begin < end <= begin + _LONGEST_RANGE:
            yield from range(begin, end + 1)
        else:
            yield from (begin, end) if last else (begin,)


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS else max(_BEYOND, int(digits[:_LONGEST_NUMBER]))
