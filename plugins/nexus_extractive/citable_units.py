"""Cuts the text of an item into what can be cited: sentences, list entries, table rows, stretches of code.

All of it stands in the text as it is, but for white space: nothing is taken out, put in, or put together anew.
Headings are never cited, and a list entry, a row or a stretch of code never without what introduces it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal

from attrs import define, field, frozen

from nexus_core.toolkit import sentences

Form = Literal["sentence", "entry", "row", "code"]

_HEADING = re.compile(r" {0,3}(#{1,6})(?=\s)(.*)")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
_ADORNMENT = re.compile(r"([=\-:'\"~^_*+#<>.!/])\1{2,}")
"""What plain text and reStructuredText have under a title, or above it."""
_FENCE = re.compile(r"\s{0,8}(`{3,}|~{3,})")
_ENTRY = re.compile(r"\s*([-*+•–]|\d{1,3}[.)])\s+(?=\S)")
_NOTHING = re.compile(
    r"""(?:[-*_=][ ]?){3,}+                                        # a rule
    | <!--.*-->
    | \[(?!\^)[^\]]{1,200}\]:\s*+<?[^\s<>]++>?(?:\s++["'(].*)?      # the address of a link; a footnote is text
    | !\[[^\]]*+\]\([^)]*+\)""",
    re.VERBOSE,
)
"""What says nothing, but for a blank line."""
_GAP = re.compile(r"\n…\n|(?<=\S) … (?=\S)")
"""Where passages of an item are left out."""
_QUOTED = re.compile(r"\s{0,3}>")
_BOLD = re.compile(r"(?:\*\*|__)([^*_]{1,80})(?:\*\*|__):?$")
_ENDED = re.compile(r"[.!?…:;,。！？][\"'”’)\]]*$")

_LONG_ENTRY = 300
"""Characters beyond which a list entry is cited by its sentences."""
_LONG_HEADING = 7
"""Words up to which a line of plain text that stands alone may be a heading."""
_LOWEST = 7
"""The level of headings without marks: below all others."""
_SHOWN_LINES = 14
"""Of a stretch of code."""
_SHOWN_LINE = 200
"""Characters of a line of code."""
_LONGEST_HEADING = 200
"""Characters of a heading in the path of what stands under it."""
_LONGEST = 600
"""Characters beyond which what stands without any stop is cut between words."""


Lines = tuple[int, int]
"""The first line, and the one after the last. Blank ones are not counted, and what the packer has left out is one."""
_NOWHERE = (-1, -1)


@frozen(kw_only=True, eq=False, repr=False)
class Words:
    """A stretch of a text as it stands there, but for white space."""

    text: str
    lines: Lines = _NOWHERE


@frozen(kw_only=True, eq=False, repr=False)
class Unit(Words):
    """Something that can be cited."""

    place: int
    """From 0, in the order of the item."""
    block: int
    """Sentences of one paragraph have the same number."""
    form: Form = "sentence"
    mark: str = ""
    """What an entry begins with, `-` or `2.`, or how a fence opens."""
    under: str = ""
    """The headings it stands under, below the item's title."""
    lead: int | None = None
    """The place of the sentence that introduces an entry, a row or a fence."""
    follows: str = ""
    """That sentence, and the head of a table; for code that has none, the heading."""
    head: Words | None = None
    """What an entry, a row or a fence is shown with besides its lead: the head of a table, a heading."""


def units(text: str, kind: str) -> list[Unit]:
    """Return the units of a text in order."""
    cutter = _Cutter(marked=kind == "markdown")
    for stretch in _GAP.split(text):
        cutter.begin(stretch)
        if kind == "code":
            cutter.cut_code()
        else:
            cutter.cut_document()
    return cutter.found


@define(eq=False, repr=False)
class _Cutter:
    marked: bool
    """Headings have marks."""
    lines: list[str] = field(factory=list)
    found: list[Unit] = field(factory=list)
    _counted: list[int] = field(factory=lambda: [0])
    """For each line how many come before it that are not blank."""
    _headings: list[tuple[int, Words]] = field(factory=list)
    _under: str = ""
    _lead: Unit | None = None
    _block: int = 0

    def begin(self, text: str) -> None:
        """Go on with a text that does not join on to the one before."""
        self.lines = text.split("\n")
        before = self._counted[-1] + 1
        self._counted = list(accumulate((bool(line.strip()) for line in self.lines), initial=before))
        self._lead = None
        self._block += 1
        if inside := self._starts_inside_a_fence():
            self._add_code(0, inside - 1)
            self._blank_out(inside)

    def _blank_out(self, count: int) -> None:
        """Pass over the first lines; the numbers of the others stay."""
        self.lines[:count] = [""] * count

    def _starts_inside_a_fence(self) -> int:
        """Return the line after the fence that ends what the text begins with, 0 where it begins with no code.

        A passage may be cut out of the middle of a stretch of code. Then a fence has no partner, and the first one has
        no name of a language and stands right after something.
        """
        fences = [at for at, line in enumerate(self.lines) if self._fence_of(line)]
        if len(fences) % 2 == 0 or self.lines[fences[0]].strip().strip("`~"):
            return 0
        before = self.lines[fences[0] - 1].strip() if fences[0] else "code"
        return 0 if not before or before.endswith(":") else fences[0] + 1

    def _fence_of(self, line: str) -> str:
        """Return what opens or closes a fence; in plain text tildes stand under titles."""
        fence = _FENCE.match(line)
        return fence[1] if fence and (self.marked or fence[1][0] == "`") else ""

    def cut_document(self) -> None:
        """Take one thing after the other."""
        at = 0
        while at < len(self.lines):
            at = self._next(at)

    def cut_code(self) -> None:
        """Take stretches between blank lines at the outermost level, none of them too long to be shown."""
        begin = 0
        for number, line in enumerate([*self.lines, ""]):
            after = self.lines[number + 1] if number + 1 < len(self.lines) else ""
            if (not line.strip() and not after[:1].isspace()) or number - begin >= _SHOWN_LINES:
                self._add_code(begin, number)
                begin = number

    def _next(self, at: int) -> int:
        """Take what begins at a line, and return where it ends."""
        line = self.lines[at]
        if fence := self._fence_of(line):
            return self._fence(at, fence)
        if self._says_nothing(line):
            return at + 1
        if heading := _HEADING.match(line):
            self._head(len(heading[1]), _unclosed(heading[2]), at)
            return at + 1
        if _is_row(line):
            return self._table(at)
        if entry := _ENTRY.match(line):
            return self._entry(at, entry)
        return self._paragraph(at)

    def _says_nothing(self, line: str) -> bool:
        bare = line.strip()
        return not bare or _NOTHING.fullmatch(bare) is not None or (not self.marked and _is_adornment(bare))

    def _head(self, level: int, heading: str, at: int) -> None:
        self._headings = [(other, name) for other, name in self._headings if other < level]
        # What closes the mark of a heading parts it from what follows.
        lines = self._span(at, at + 1) if self.lines[at].rstrip().endswith(heading) else _NOWHERE
        self._headings.append((level, Words(text=heading[:_LONGEST], lines=lines)))
        self._under = " > ".join(name.text[:_LONGEST_HEADING] for _, name in self._headings)
        self._lead = None

    def _span(self, first: int, after: int) -> Lines:
        return self._counted[first], self._counted[after]

    def _add(self, text: str, lines: Lines, form: Form = "sentence", mark: str = "", head: Words | None = None) -> None:
        if re.search(r"\w", text):
            led = self._lead if form != "sentence" else None
            if form == "code" and led is None and self._headings:
                head = self._headings[-1][1]
            follows = [words.text for words in (led, head) if words]
            unit = Unit(
                text=text,
                lines=lines,
                place=len(self.found),
                block=self._block,
                form=form,
                mark=mark,
                under=self._under,
                lead=led.place if led else None,
                follows="\n".join(follows),
                head=head,
            )
            self.found.append(unit)

    def _add_code(self, first: int, after: int, mark: str = "```", *, fenced: bool = False) -> None:
        """Add lines of code, as many as are shown; `mark` opens their fence, by the line before them if `fenced`."""
        shown: list[str] = []
        for line in self.lines[first : min(after, first + _SHOWN_LINES)]:
            shown.append(line[:_SHOWN_LINE])
            if len(line) > _SHOWN_LINE:
                break
        code = "\n".join(shown).strip("\n")
        if not fenced and "```" in code:
            mark = "`" * (max(len(run) for run in re.findall("`+", code)) + 1)
        self._add(code, (self._counted[first - fenced], -1), "code", mark)

    def _fence(self, at: int, mark: str) -> int:
        end = next(
            (n for n in range(at + 1, len(self.lines)) if self.lines[n].strip().startswith(mark)), len(self.lines)
        )
        if self._lead is None and self.found and self.found[-1].under == self._under:
            self._lead = self.found[-1] if self.found[-1].form == "sentence" else None
        self._block += 1
        self._add_code(at + 1, end, self.lines[at].strip(), fenced=True)
        self._block += 1
        return end + 1

    def _table(self, at: int) -> int:
        end = at
        while end < len(self.lines) and _is_row(self.lines[end]):
            end += 1
        headed = end - at > 1 and _is_delimiter(self.lines[at + 1])
        head = None
        if headed and len(self.lines[at]) <= _LONGEST:
            head = Words(text="\n".join(line.strip() for line in self.lines[at : at + 2]), lines=self._span(at, at + 2))
        for number in range(at + 2 * headed, end):
            if not _is_delimiter(self.lines[number]):
                self._block += 1
                row = self.lines[number].strip()
                self._add(row[:_LONGEST], self._span(number, number + 1), "row", head=head)
        return end

    def _entry(self, at: int, opening: re.Match[str]) -> int:
        end = self._end(at)
        text = _joined([self.lines[at][opening.end() :], *self.lines[at + 1 : end]])
        self._block += 1
        if len(text) <= _LONG_ENTRY:
            self._add(text, self._span(at, end), "entry", opening[1])
        else:
            self._add_sentences(text, self._span(at, end))
        return end

    def _end(self, at: int) -> int:
        """Return the line at which a paragraph or an entry ends: before a blank one or what begins something else."""
        for number in range(at + 1, len(self.lines)):
            line = self.lines[number]
            if (
                self._says_nothing(line)
                or _ENTRY.match(line)
                or _HEADING.match(line)
                or _is_row(line)
                or self._fence_of(line)
            ):
                return number
        return len(self.lines)

    def _paragraph(self, at: int) -> int:
        end = self._end(at)
        line, below = self.lines[at].strip(), self.lines[end] if end < len(self.lines) else ""
        if end == at + 1 and self.marked and _UNDERLINE.match(below):
            self._head(1 if "=" in below else 2, line, at)
            return end + 1
        if end == at + 1 and not self.marked and _is_adornment(below.strip()) and len(below.strip()) >= len(line):
            self._head(_LOWEST, line, at)
            return end + 1
        text = _joined(self.lines[at:end])
        bold = _BOLD.match(text)
        if bold or (end == at + 1 and self._is_heading(text, end)):
            self._head(_LOWEST, bold[1] if bold else text, at)
            return end
        self._block += 1
        self._add_sentences(text, self._span(at, end))
        self._lead = self.found[-1] if text.endswith(":") and self.found else None
        return end

    def _add_sentences(self, text: str, lines: Lines) -> None:
        for first, last in sentences(text):
            for piece in _short(text[first:last]):
                self._add(piece, lines if last == len(text) else (lines[0], -1))

    def _is_heading(self, text: str, end: int) -> bool:
        """Tell whether a line alone is a heading without a mark: short, not ended, with something after it."""
        short = len(text) <= _LONGEST_HEADING and len(text.split()) <= _LONG_HEADING
        if self.marked or not short or _ENDED.search(text) or text[:1].islower():
            return False
        return self._counted[-1] > self._counted[end]


def _is_adornment(bare: str) -> bool:
    return _ADORNMENT.fullmatch(bare) is not None


def _unclosed(heading: str) -> str:
    """Return what a heading says, without the marks that close it."""
    heading = heading.strip()
    bare = heading.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else heading


def _is_row(line: str) -> bool:
    bare = line.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == "|"


def _is_delimiter(line: str) -> bool:
    bare = line.strip()
    return bare[:1] == "|" and "-" in bare and not bare.strip("|:- \t")


def _joined(lines: list[str]) -> str:
    """Return a paragraph on one line; the marks of a quotation stay at the beginning of theirs."""
    between = "\n" if any(_QUOTED.match(line) for line in lines) else " "
    return between.join(" ".join(line.split()) for line in lines)


def _short(text: str) -> Iterator[str]:
    begin = 0
    while len(text) - begin > _LONGEST:
        cut = text.rfind(" ", begin + 1, begin + _LONGEST)
        cut = cut if cut > 0 else begin + _LONGEST
        yield text[begin:cut]
        begin = cut + (text[cut] == " ")
    if begin < len(text):
        yield text[begin:]
