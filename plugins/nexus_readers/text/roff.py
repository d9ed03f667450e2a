"""Reads manual pages, man and mdoc: sections, paragraphs, terms, examples. A file without requests is plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from attrs import define, field

from nexus_core import Block, Code, Heading, ListItem, Metadata, Paragraph, Place, ReadHints, component
from nexus_readers.text.plain import blocks_of as plain_blocks
from nexus_readers.text.source_text import read_text

_IS_ROFF = re.compile(r"^[.'](?:\\\"|TH|SH|Dd|Dt|Sh|so|de|ds|PP|B|I)(?:\s|$)", re.MULTILINE)
_REQUEST = re.compile(r"[.'][ \t]*([A-Za-z0-9]{1,3}|\\\")[ \t]*(.*)$")
_WORDS = re.compile(r'"((?:[^"]|"")*)"?|((?:\\.|[^\s"\\])(?:\\.|[^\s\\])*)')
_ESCAPE = re.compile(
    r"""\\(?:f(?:\[[^\]]*\]|\(..|.)|s[+-]?\d{1,2}|\((..)|\[([^\[\]]{1,30})\]|\*(?:\[[^\]]*\]|\(..|.)|[mMkF](?:\[[^\]]*\]|.)
    |[hvw]'[^']*'|(["#]).*$|(.))""",
    re.VERBOSE,
)
_SIGNS = {
    "em": "—", "en": "–", "bu": "•", "co": "©", "rg": "®", "tm": "™", "lq": "“", "rq": "”", "oq": "‘", "cq": "’",
    "aq": "'", "dq": '"', "ga": "`", "ha": "^", "ti": "~", "rs": "\\", "mu": "×", "+-": "±", "->": "→", "<-": "←",
    "de": "°", "ss": "ß", "hy": "-", "mi": "-", "pl": "+", "eq": "=", "at": "@", "sh": "#", "Do": "$", "ba": "|",
    "Fo": "«", "Fc": "»", "o:": "ö", "a:": "ä", "u:": "ü", "O:": "Ö", "A:": "Ä", "U:": "Ü", "'e": "é", "`e": "è",
    "sc": "§", "Eu": "€", "Po": "£", "<=": "≤", ">=": "≥", "!=": "≠",
}  # fmt: skip
_CHARACTERS = {
    "-": "-", "e": "\\", "&": "", " ": " ", "~": " ", "0": " ", "|": "", "^": "", "c": "", "%": "", "/": "", ",": "",
    "'": "'", "`": "`", ".": ".", "\\": "\\", "t": " ", ":": "", ")": "", "!": "", "p": "", "d": "", "u": "",
}  # fmt: skip
_FONTS = frozenset({
    "B", "I", "SM", "SB", "R", "Em", "Sy", "Li", "Ar", "Pa", "Va", "Vt", "Fa", "Ft", "Cm", "Ic", "Ev", "Dv", "Er", "Tn",
    "Ux", "Nx", "An", "Lk", "Mt", "Sx", "Ms", "Ad", "Ns", "Rs", "Re", "No",
})  # fmt: skip
_JOINED = frozenset({"BR", "RB", "IR", "RI", "BI", "IB"})
_BETWEEN = {"Dq": "“”", "Sq": "‘’", "Pq": "()", "Bq": "[]", "Op": "[]", "Qq": '""', "Aq": "<>", "Brq": "{}"}
_TERMS = frozenset({"TP", "IP", "TQ", "It", "HP"})
_PARAGRAPHS = frozenset({"PP", "P", "LP", "Pp", "sp", "br", "RS", "RE", "El", "Lp"})
_CODE = {"nf": "fi", "EX": "EE", "Bd": "Ed", "DS": "DE"}


@component
class ManReader:
    """Reads manual pages."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        source = read_text(file, hints)
        yield from source.remarks()
        if _IS_ROFF.search(source.text[:20_000]) is None:
            yield from plain_blocks(source.text)  # a name that ends with a number for another reason
            return
        page = _Page(source.text.split("\n"))
        blocks = list(page.blocks())
        yield Metadata(title=page.title, date=page.date)
        yield from blocks


@define(eq=False)
class _Page:
    lines: list[str]
    at: int = 0
    title: str = ""
    date: str = ""
    name: str = ""
    pieces: list[str] = field(factory=list)
    begin: int = 0
    term: str | None = None
    """Of a list item, which its text follows."""
    awaits_term: bool = False

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            request = _REQUEST.match(line) if line[:1] in (".", "'") else None
            if request:
                yield from self._request(request[1], request[2])
            elif line.strip() and line[:1] != ".":
                self._say(plain(line))
            elif not line.strip():
                yield from self._end()
        yield from self._end()

    def _say(self, text: str) -> None:
        text = text.strip()
        if self.awaits_term and text:
            self.term, self.awaits_term = text, False
            self.begin = self.at
        elif text:
            self.begin = self.begin or self.at
            self.pieces.append(text)

    def _end(self) -> Iterator[Block]:
        text = " ".join(" ".join(self.pieces).split())
        place = Place(line=self.begin or self.at, last_line=self.at)
        if self.term is not None:
            if self.term or text:
                yield ListItem(text=": ".join(filter(None, (self.term, text))), place=place)
        elif text:
            yield Paragraph(text=text, place=place)
        self.pieces, self.begin, self.term, self.awaits_term = [], 0, None, False

    def _request(self, name: str, rest: str) -> Iterator[Block]:
        words = words_of(rest)
        if name in ("SH", "Sh", "SS", "Ss"):
            yield from self._end()
            if not words and self.at < len(self.lines):
                words = [plain(self.lines[self.at])]
                self.at += 1
            yield Heading(text=" ".join(words), level=1 + (name.lower() == "ss"), place=Place(line=self.at))
        elif name in ("TH", "Dt"):
            self.title = f"{words[0]}({words[1]})" if len(words) > 1 else " ".join(words)
            self.date = words[2] if len(words) > 2 and re.fullmatch(r"\d{4}-\d\d-\d\d", words[2]) else ""
        elif name in _CODE:
            yield from self._end()
            yield from self._code(_CODE[name])
        elif name in _TERMS:
            yield from self._end()
            if name == "It":
                self.term = " ".join(self._mdoc(words))
            elif name == "IP":
                self.term = words[0] if words and words[0] not in ("•", "-", "*", "·") else ""
            else:
                self.awaits_term = name != "HP"
        elif name in _PARAGRAPHS:
            if not (name in ("br", "RS", "RE") and self.term is not None):
                yield from self._end()
        elif name in _JOINED:
            self._say("".join(words))
        elif name in ("B", "I", "SM", "SB", "R"):
            self._say(" ".join(words))
        elif name in ("UR", "MT") and words:
            self._say(words[0])
        elif name in ("de", "ig", "am"):
            end = (words[1:2] or [".."])[0] if name != "ig" else (words[0] if words else "..")
            while self.at < len(self.lines) and self.lines[self.at].strip() not in ("..", f".{end}"):
                self.at += 1
            self.at += 1
        elif name[:1].isupper() and len(name) == 2:
            self._say(" ".join(self._mdoc([name, *words])))

    def _code(self, end: str) -> Iterator[Block]:
        begin, held = self.at, []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            request = _REQUEST.match(line) if line[:1] in (".", "'") else None
            if request and (request[1] == end or request[1] in ("SH", "Sh")):
                self.at += request[1] == end
                break
            if not request:
                held.append(plain(line))
            elif request[1] not in ('\\"', "PP", "sp", "ft", "in", "RS", "RE", "ps"):
                held.append(("" if request[1] in _JOINED else " ").join(words_of(request[2])))
            else:
                held += [""] * (request[1] in ("PP", "sp"))
            self.at += 1
        text = "\n".join(held).strip("\n")
        if text.strip():
            yield Code(text=text, place=Place(line=begin + 1, last_line=self.at))

    def _mdoc(self, words: list[str]) -> list[str]:
        """Return what a line of mdoc shows: its macros stand among the words."""
        found: list[str] = []
        close = ""
        number = 0
        while number < len(words):
            word = words[number]
            number += 1
            following = words[number] if number < len(words) else ""
            if word == "Nm":
                if following and following[:1].isalnum() and not self.name:
                    self.name = following
                elif not following[:1].isalnum():
                    found.append(self.name)
            elif word == "Fl":
                found.append("-" + (following if following not in _FONTS else ""))
                number += following not in _FONTS
            elif word == "Xr" and number + 1 < len(words):
                found.append(f"{words[number]}({words[number + 1]})")
                number += 2
            elif word == "Nd":
                found.append("—")
            elif word in _BETWEEN:
                found.append(_BETWEEN[word][0])
                close = _BETWEEN[word][1] + close
            elif word not in _FONTS and word not in ("Dd", "Os", "Bl", "Ql", "Dl", "Bk", "Ek", "Xo", "Xc", "St", "Bx"):
                found.append(word)
            if word in ("Dd", "Os", "Bl"):
                return []
        text = " ".join(found) + close
        return [re.sub(r"([\[({“‘<]) ", r"\1", text)] if text else []


def words_of(text: str) -> list[str]:
    """Return the arguments of a request."""
    found = (match[1].replace('""', '"') if match[1] is not None else match[2] for match in _WORDS.finditer(text))
    return [plain(word) for word in found if not word.startswith('\\"')]


def plain(text: str) -> str:
    """Return a line with its escapes as the characters that they stand for."""
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(found: re.Match[str]) -> str:
    name = found[1] or found[2]
    if name:
        return _SIGNS.get(name, chr(int(name[1:], 16)) if re.fullmatch(r"u[0-9A-Fa-f]{4,5}", name) else "")
    return _CHARACTERS.get(found[4], found[4]) if found[4] else ""
