"""Cuts a text into sentences and passages: spans (start, end) that together hold every character that is not white.

A sentence of prose ends at a full stop that is none of an abbreviation, of initials or of a number; headings, list
items and table rows of Markdown stand alone, and code is cut at its lines. Everything takes linear time on any text.
`is_blank` says whether there is anything to cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

Span = tuple[int, int]

BYTES_PER_TOKEN = 3.6
"""What passages are measured by, whatever the model's encoding: code in o200k_base has 3 to 4, English prose 4.9.

So a passage of 64 tokens is no longer than that in code, and 47 tokens of prose."""

INVISIBLE = (
    r"\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""For a class of a regular expression: white space, control characters, and those that Unicode shows as nothing
(Default_Ignorable_Code_Point), such as a byte order mark or a zero-width space."""
_find_visible = re.compile(f"[^{INVISIBLE}]").search

_SCRAP = 0.4
"""A last passage of less than this share of the size is joined to the one before."""
_LONGEST = 2
"""A sentence longer than this many passages is cut inside."""

# Each group is the white space that follows a sentence: after a stop and at most three closing quotes or brackets;
# after a stop of writing without spaces; a blank line; a line break before a list item. The bounds on repetition keep
# the search linear: a run of a million dots is looked at once. The set at the start, of all that a match may begin
# with, lets the search pass over the rest: without it, it takes five times as long.
_MARKER = r"(?:[-*+•]|\d{1,3}[.)])\s"
_OTHER_STOPS = "。！？｡।॥။።፧፨។៕؟۔։՜՞༎᙮᠃᠉꓿꘎꘏꛳꛷꩝꩞꩟꫰꫱꯫𑁇𑁈𑅁𑅂𑗂𑙁𑙂"
"""What ends a sentence in writing without spaces, and in other scripts."""
_BOUND = re.compile(
    rf"""[.!?…{_OTHER_STOPS}།\n](?:
      (?<=[.!?…])["'”’»)\]]{{0,3}}(\s+)
    | (?<=[{_OTHER_STOPS}])[”’」』）»"')\]]{{0,3}}(\s*)
    | (?<=།)[ །]{{0,3}}(\s*)
    | (?<=\n)([^\S\n]*\n\s*)
    | (?<=\n)([^\S\n]{{0,8}})(?={_MARKER}))""",
    re.VERBOSE,
)
_STOP = 1
_LIST_ITEM = re.compile(_MARKER)
_OPENING = "\"'“‘«(["
_MARKDOWN_LINE = re.compile(rf"[^\S\n]{{0,8}}(?:\#{{1,6}}\s|{_MARKER}|\||>|={{3,}}\s|-{{3,}}\s)")
_FENCE = re.compile(r"[^\S\n]{0,3}(?:```|~~~)")
_CLAUSE = re.compile(r"[,;:)\]}、，；：]\s*|\s[–—-]\s")

_LONGEST_ABBREVIATION = 6
_SHORT_FORMS = """
    mr mrs ms mx dr prof st mt ft gen col lt sgt capt cmdr maj rev hon sen rep gov pres supt messrs mme mlle
    fig figs eq eqs ref refs sec secs ch chap no nos vol vols ed eds pp p pt art para app tab
    e.g i.e cf viz vs v approx ca c etc al resp incl excl
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun
    inc ltd co corp bros dept univ assn bzw z.b d.h usw ggf nr str abs
"""
_ABBREVIATIONS = frozenset(_SHORT_FORMS.split())
_MAY_END = frozenset(("etc", "al", "inc", "ltd", "co", "corp", "bros", "usw"))
"""Abbreviations that often stand at the end of a sentence: a capital after them starts a new one."""


def is_blank(text: str) -> bool:
    """Tell whether a text shows nothing: it is empty, or all white space and invisible characters."""
    # Nearly every text begins with a letter, which is seen faster without an expression.
    return not "!" <= text[:1] <= "~" and _find_visible(text) is None


def sentences(text: str, kind: str = "text") -> list[Span]:
    """Return the spans of the sentences of `text` in order, none empty; what lies between them is white.

    `kind` is an item's: `markdown` also ends a sentence at headings, list items, table rows and fences; of `code`, each
    line is one, its indentation included.
    """
    if kind == "code":
        return list(_lines(text, _line_starts(text)))
    if kind == "markdown":
        return list(_markdown(text))
    return list(_prose(text, 0, len(text)))


def passages(text: str, kind: str = "text", size: int = 64) -> list[list[Span]]:
    """Return passages of consecutive sentences, each a list of spans, of at most about `size` tokens.

    A sentence of more than twice that is cut at clauses or words; a passage is otherwise cut only between sentences.
    """
    return in_passages(text, sentences(text, kind), size)


def in_passages(text: str, spans: Iterable[Span], size: int) -> list[list[Span]]:
    """Return the same of sentences that are known already."""
    room = int(size * BYTES_PER_TOKEN)
    ascii_only = text.isascii()
    found: list[list[Span]] = []
    held = room
    for start, end in _shortened(text, spans, room):
        length = end - start if ascii_only else byte_length(text[start:end])
        held += length
        if held <= room:
            found[-1].append((start, end))
        else:
            found.append([(start, end)])
            held = length
    if len(found) > 1 and held < room * _SCRAP:
        found[-2:] = [found[-2] + found[-1]]
    return found


def byte_length(text: str) -> int:
    """Return the length of `text` in UTF-8, which no encoding's token count exceeds."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _prose(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the sentences of a part of a text."""
    first = _without_white(text, start, end)[0]
    for bound in _BOUND.finditer(text, first, end):
        kind = bound.lastindex or 0
        last, following = bound.span(kind)
        if kind == _STOP and not _ends_sentence(text, first, bound.start(), last, following):
            continue
        if kind > _STOP:
            last = _without_white(text, first, last)[1]
        if first < last:
            yield first, last
            first = following
    last = _without_white(text, first, end)[1]
    if first < last:
        yield first, last


def _without_white(text: str, start: int, end: int) -> Span:
    """Return a span without the white space at its ends."""
    piece = text[start:end]
    return end - len(piece.lstrip()), start + len(piece.rstrip())


def _ends_sentence(text: str, first: int, stop: int, last: int, following: int) -> bool:
    """Tell whether the stop at `stop` ends a sentence, by the word before it and what comes after the white space."""
    after = text[following : following + 2].lstrip(_OPENING)[:1]
    if not after.islower():
        if text[stop] != ".":
            return True
        before = text[max(first, stop - _LONGEST_ABBREVIATION - 1) : stop]
        if before.isalpha() and len(before) > _LONGEST_ABBREVIATION:
            return True
        if not _is_short_form(before.split()[-1:], after, _opens_line(text, first, stop)):
            return True
    # What stands after a blank line, or in a list, is another sentence whatever came before.
    breaks = text.count("\n", last, following)
    return breaks > 1 or (breaks == 1 and _LIST_ITEM.match(text, following) is not None)


def _is_short_form(words: list[str], after: str, opens_line: bool) -> bool:
    """Tell whether a stop belongs to the word before it: an abbreviation, initials, or the number of a list item."""
    word = words[0].lstrip(_OPENING + "{-–—").lower() if words else ""
    if len(word) == 1 and word.isalpha():
        return True
    if word in _ABBREVIATIONS:
        return word not in _MAY_END or after.isdigit()
    if word.isdigit():
        return opens_line
    letters = word.split(".")
    return len(letters) > 1 and all(len(letter) == 1 and letter.isalpha() for letter in letters)


def _opens_line(text: str, first: int, stop: int) -> bool:
    """Tell whether the word before `stop`, of at most three characters, is the first of its line or sentence."""
    return stop - first <= 3 or "\n" in text[stop - 4 : stop]


def _line_starts(text: str) -> Iterator[int]:
    place = text.find("\n")
    while place >= 0:
        yield place + 1
        place = text.find("\n", place + 1)


def _lines(text: str, starts: Iterable[int]) -> Iterator[Span]:
    """Yield the lines that are not blank, without the white space at their ends."""
    for start, end in pairwise((0, *starts, len(text))):
        length = len(text[start:end].rstrip())
        if length:
            yield start, start + length


def _markdown(text: str) -> Iterator[Span]:
    """Yield every line of a fence, and the sentences of headings, list items, table rows and paragraphs."""
    fenced = False
    paragraph = 0
    for start, end in pairwise((0, *_line_starts(text), len(text))):
        fence = _FENCE.match(text, start, end) is not None
        if fence or fenced:
            yield from _prose(text, paragraph, start)
            yield from ((start + first, start + last) for first, last in _lines(text[start:end], ()))
            fenced = fenced != fence
            paragraph = end
        elif _MARKDOWN_LINE.match(text, start, end):
            yield from _prose(text, paragraph, start)
            yield from _prose(text, start, end)
            paragraph = end
    yield from _prose(text, paragraph, len(text))


def _shortened(text: str, spans: Iterable[Span], room: int) -> Iterator[Span]:
    """Yield the spans, those far too long for `room` bytes in parts."""
    for start, end in spans:
        # A character has at most four bytes, so most spans need no counting.
        if (end - start) * 4 <= room or byte_length(text[start:end]) <= room * _LONGEST:
            yield start, end
        else:
            yield from _parts(text, start, end, room)


def _parts(text: str, start: int, end: int, room: int) -> Iterator[Span]:
    """Cut a long sentence: after the last clause that fits, else between words, else anywhere."""
    while start < end:
        size = _characters_in(text[start : min(end, start + room)], room)
        cut = start + size if start + size >= end else _cut(text, start, start + size)
        first, last = _without_white(text, start, cut)
        if first < last:
            yield first, last
        start = cut


def _characters_in(text: str, room: int) -> int:
    """Return how many characters of `text` fit into so many bytes, at least one."""
    if text.isascii():
        return len(text)
    return max(1, len(text.encode("utf-8", "surrogatepass")[:room].decode("utf-8", "ignore")))


def _cut(text: str, start: int, end: int) -> int:
    half = start + (end - start) // 2
    clauses = [match.end() for match in _CLAUSE.finditer(text, half, end)]
    if clauses:
        return clauses[-1]
    for place in range(end, half, -1):
        if text[place - 1].isspace():
            return place
    return end
