"""The text of one block while it is collected: words and their inline marks, one line when it is taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal
from urllib.parse import unquote

from attrs import define, field

Mark = Literal["raised", "lowered", "struck", "code", "quoted", "link", "note"]
BREAK = "\0"
"""Stands for a line break; a parser of HTML lets no NUL through."""
_LONGEST_MARKED = 2_000
_MOST_PIECES = 64
_LONGEST_TARGET = 500
_SHORT = re.compile(r"[+\-−–]?\w{1,20}|[*′″'°]{1,3}|[+\-−]")
_ORDINAL = re.compile(r"(?:st|nd|rd|th|er|ers|re|ère|e|è|ème|nde|do|os|as|[ºªoa])", re.IGNORECASE)
_ABBREVIATED = re.compile(r"(?:me|mes|lle|lles|gr|te|os)")
_SIGNS = frozenset({"TM", "SM", "®", "™", "©", "℠"})
_TOLD = re.compile(r"(?:https?|s?ftp|mailto|tel|fax|sms|geo|sip|skype|whatsapp|xmpp|matrix):|//\w", re.IGNORECASE)
_FILE = re.compile(r"[^\s?#]{1,300}\.(?:pdf|docx?|xlsx?|pptx?|od[tsp]|zip|csv|epub|rtf|ics|tar\.gz)", re.IGNORECASE)
"""A document that the page offers."""
_WRAPPED = re.compile(
    r"https?://(?:www\.google\.[a-z.]{2,6}/url\?(?:[^#]*&)?(?:q|url)|[\w.-]+\.safelinks\.protection\.outlook\.com/\?url)"
    r"=([^&#]+)",
    re.IGNORECASE,
)
"""What mail and document programs put around an address."""
_NO_DIGITS = re.compile(r"\D+")
_FRACTION = re.compile(r"(\d?)\^(\d{1,4})([/⁄])_(\d{1,4})(?!\w)")
_IN_BRACKETS = re.compile(r"\[(\[\^[^\[\]]{1,20}\])\]")
_NO_MARK = re.compile(r"[\s#¶§🔗]*")


@define
class _OpenMark:
    kind: Mark
    begin: int
    target: str = ""


@define
class Line:
    """What a block says."""

    text: str
    links: tuple[str, ...]
    first: str
    """The first words as they stand in the source."""
    pictures: tuple[str, ...] = ()
    """What pictures show, where nothing else is said."""


@define(eq=False)
class InlineText:
    """Collects the text of a block."""

    pieces: list[str] = field(factory=list)
    links: list[str] = field(factory=list)
    first: str = ""
    _pictures: list[str] = field(factory=list)
    _open: list[_OpenMark] = field(factory=list)

    def add(self, text: str) -> None:
        """Add text as it stands in the source."""
        if not self.first:
            if not text.isspace():
                self.first = text
            elif not self.pieces:
                return  # white space between blocks
        self.pieces.append(text)

    def add_picture(self, words: str) -> None:
        """Add what a picture shows."""
        self.pieces += [" ", words, " "]
        self._pictures.append(words)

    @property
    def is_blank(self) -> bool:
        """Whether nothing was said yet."""
        return not self.first and not "".join(self.pieces).strip(" \n\t\r\f\0")

    def open(self, kind: Mark, target: str = "") -> None:
        """Begin to mark what is added from here on."""
        self._open.append(_OpenMark(kind, len(self.pieces), target))

    def close(self) -> None:
        """End the mark that was opened last."""
        self._apply(self._open.pop())

    def _apply(self, mark: _OpenMark) -> None:
        pieces = self.pieces
        inner = "".join(pieces[mark.begin :]) if len(pieces) - mark.begin <= _MOST_PIECES else None
        if inner is None or len(inner) > _LONGEST_MARKED:
            if mark.kind in ("struck", "code"):
                sign = "~~" if mark.kind == "struck" else "`"
                pieces.insert(mark.begin, sign)
                pieces.append(sign)
            return
        words = inner.strip()
        if words or mark.kind == "link":
            lead, trail = inner[: len(inner) - len(inner.lstrip())], inner[len(inner.rstrip()) :]
            before = pieces[mark.begin - 1][-1:] if mark.begin else ""
            written = _WRITTEN[mark.kind](words, mark.target, before)
            pieces[mark.begin :] = [lead + written + (trail if words else "")]

    def take(self) -> Line:
        """Return what was added, and begin anew; marks that are open go on."""
        if len(self.pieces) == 1 and not self._open and not self.links and BREAK not in self.pieces[0]:
            line = Line(one_line(self.pieces[0]), (), self.first)
            self.pieces, self.first, self._pictures = [], "", []
            return line
        ahead: list[str] = []
        for mark in reversed(self._open):
            if mark.kind == "link" and any(not piece.isspace() for piece in self.pieces[mark.begin :]):
                self._apply(mark)
                mark.kind = "note"  # its address is told once
            elif mark.kind == "link":
                ahead.append(mark.target)
            else:
                self._apply(mark)
            mark.begin = 0
        text = "".join(self.pieces)
        if "\xad" in text or "\ufeff" in text:
            text = text.replace("\xad", "").replace("\ufeff", "")
        if "/_" in text or "⁄_" in text:
            text = _FRACTION.sub(lambda part: f"{part[1]}{' ' * bool(part[1])}{part[2]}{part[3]}{part[4]}", text)
        if "[[^" in text:
            text = _IN_BRACKETS.sub(r"\1", text)
        if BREAK in text:
            lines = (" ".join(line.split()) for line in text.split(BREAK))
            text = "\n".join(line for line in lines if line)
        else:
            text = " ".join(text.split())
        pictures = (
            tuple(self._pictures) if self._pictures and text == " ".join(" ".join(self._pictures).split()) else ()
        )
        links = tuple(dict.fromkeys(link for link in self.links if link not in ahead))
        line = Line(text, links, self.first, pictures)
        self.pieces, self.links, self.first, self._pictures = [], ahead, "", []
        return line


def one_line(text: str) -> str:
    """Return text as browsers show it: white space collapsed, soft hyphens gone."""
    if "\xad" in text or "\ufeff" in text:
        text = text.replace("\xad", "").replace("\ufeff", "")
    return " ".join(text.split())


def raised(words: str, target: str = "", before: str = "") -> str:
    """Write raised characters: `^6`; the ending of `1st` is no power."""
    if words.startswith("[") or words in _SIGNS:
        return words
    if before.isdigit() and _ORDINAL.fullmatch(words):
        return words
    if before.isalpha() and _ABBREVIATED.fullmatch(words):
        return words
    return f"^{words}" if _SHORT.fullmatch(words) else f"^({words})"


def lowered(words: str, target: str = "", before: str = "") -> str:
    """Write lowered characters: `_2`."""
    return f"_{words}" if _SHORT.fullmatch(words) else f"_({words})"


def code_span(words: str, target: str = "", before: str = "") -> str:
    """Write code within a sentence."""
    if "`" not in words:
        return f"`{words}`"
    fence = "``" if "``" not in words else "```"
    space = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{space}{words}{space}{fence}"


def linked(words: str, target: str, before: str = "") -> str:
    """Write a link where its address says what its words do not."""
    if wrapped := _WRAPPED.match(target):
        target = unquote(wrapped[1])
    if not (_TOLD.match(target) or _FILE.fullmatch(target)) or len(target) > _LONGEST_TARGET:
        return words
    if target[:7].lower() == "mailto:":
        target = unquote(target.partition("?")[0])
    if _NO_MARK.fullmatch(words):
        return target.partition(":")[2] if target[:4].lower() in ("tel:", "mail") else words
    if "](" in words or _says(words, target):
        return words
    address = target.strip().replace(" ", "%20").replace("(", "%28").replace(")", "%29")
    return f"[{words}]({address})"


def _says(words: str, target: str) -> bool:
    scheme, _, address = target.partition(":")
    if scheme.lower() in ("tel", "sms"):
        digits = _NO_DIGITS.sub("", words)
        return len(digits) > 4 and _NO_DIGITS.sub("", address).endswith(digits.lstrip("0"))
    if scheme.lower() == "mailto":
        return address.lower() in words.lower()
    address = address or target
    return _bare(address) in (_bare(words), _bare(words.partition(":")[2]))


def _bare(address: str) -> str:
    return address.strip().lower().removeprefix("//").removeprefix("www.").rstrip("/")


_WRITTEN: dict[str, Callable[[str, str, str], str]] = {
    "raised": raised,
    "lowered": lowered,
    "struck": lambda words, target, before: f"~~{words}~~",
    "code": code_span,
    "quoted": lambda words, target, before: f"“{words}”",
    "link": linked,
    "note": lambda words, target, before: words,
}
