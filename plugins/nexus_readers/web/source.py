"""The source of a page: mended before it is parsed, and where in it words stand, which the parser does not tell.

The algorithm of HTML lets an unclosed comment or title swallow the rest of a page, and takes time with the square of
how deep elements are nested, or of how many attributes one has. Both are mended in one pass over the tags.
"""

from __future__ import annotations

import re
from collections import defaultdict

from attrs import define, field, frozen

DEEPEST = 400
"""Elements in each other; the tags of deeper ones are passed over, not their words. Browsers stop at 512."""
MOST_FORMATTING = 24
"""Formatting elements that are open at once: HTML repeats all of them in each paragraph."""
LONGEST_TAG = 8_000
MOST_ATTRIBUTES = 300
_SEARCHED = 20_000
"""Characters in which words are looked for at first."""
_PROBE = 40

_TOKEN = re.compile(
    r"""<(?:
      (/?)([a-zA-Z][^\s/>]*+)[^>]*+
    | !--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+(?:--!?>|(?P<open>\Z)))
    )""",
    re.VERBOSE,
)
_RISKY = re.compile(
    r"<(/?)(s(?:cript|tyle|mall|tr(?:ike|ong))?|code|em|b(?:ig)?|i(?:frame)?|t(?:itle|extarea|t)|font|u|xmp|no(?:embed|frames))"
    r"(?=[\s/>])"
)
_TAG = re.compile(r"<(/?)([a-z][^\s/>]*+)")
_RAW = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
_RAW_END = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _RAW}
_SWALLOWED = {name: re.compile(rf"(<{name}\b[^>]*+>[^<]*+)", re.IGNORECASE) for name in _RAW}
_FORMATTING = frozenset("b big code em font i s small strike strong tt u".split())
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_NOT_NESTED = _VOID | frozenset(
    "a body button caption colgroup dd dt form h1 h2 h3 h4 h5 h6 head html li nobr optgroup option p rp rt tbody td "
    "tfoot th thead tr".split()
)
"""Whose start tag ends one of its own kind, so that nothing is nested by them alone."""
_EMPTY_XML = re.compile(r"<([a-zA-Z][\w:.-]*+)((?:[^<>\"'/]|\"[^\"<]*\"|'[^'<]*'|/(?!>))*+)/>")
_CDATA = re.compile(r"<!\[CDATA\[((?:[^\]]|\](?!\]>))*+)\]\]>")
_SUBSET = re.compile(r"(<!DOCTYPE[^<>\[]*+)\[[^\]]*+\]")
_SPECIAL = re.compile(r"[&<>\"'\xa0\xad]")


@frozen
class MendedPage:
    """The text of a page as it may be parsed."""

    text: str
    remarks: tuple[str, ...] = ()


def mend(text: str, lower: str, xml: bool = False) -> MendedPage:
    """Return a page that no parser is slow with, and in which no open element swallows what follows.

    `lower` is the same page in lower case.
    """
    if xml:
        text = _as_html(text)
        lower = text.lower()
    if _is_harmless(lower):
        return MendedPage(text)
    remarks = []
    for _ in range(len(_RAW) + 1):
        edits, swallowing = _scan(text)
        if swallowing is None:
            break
        name, at = swallowing
        remarks.append(f"line {text.count(chr(10), 0, at) + 1}: a {name} is never closed; what follows is read as text")
        text = _closed(text, name, at)
    return MendedPage(_edited(text, edits), tuple(remarks))


def _as_html(text: str) -> str:
    """Write what XML knows and HTML does not in the other way: elements closed in their start tag, CDATA."""
    if "[" in text[:2000]:
        text = _SUBSET.sub(r"\1", text, count=1)
    if "<![CDATA[" in text:
        text = _CDATA.sub(lambda found: found[1].replace("&", "&amp;").replace("<", "&lt;"), text)
    if "/>" in text:
        text = _EMPTY_XML.sub(lambda m: m[0] if m[1].lower() in _VOID else f"<{m[1]}{m[2]}></{m[1]}>", text)
    return text


def _is_harmless(text: str) -> bool:
    """Tell whether a page, in lower case, surely has nothing to mend: most need no closer look than this."""
    if text.rfind("<!--") > text.rfind("-->") or max(map(len, text.split(">"))) > LONGEST_TAG:
        return False
    counts = dict.fromkeys((*_RAW, *_FORMATTING), 0)
    formatting = 0
    for slash, name in _RISKY.findall(text):
        if name in _RAW_END:
            counts[name] = not slash
        elif not slash:
            counts[name] += 1
            formatting += 1
            if formatting > MOST_FORMATTING:
                return False
        elif counts[name]:
            counts[name] -= 1
            formatting -= 1
    return not any(counts[name] for name in _RAW) and (text.count("<") <= DEEPEST or _is_flat(text))


def _is_flat(text: str) -> bool:
    counts = defaultdict[str, int](int)
    depth = 0
    for slash, name in _TAG.findall(text):
        if name in _NOT_NESTED:
            continue
        if not slash:
            counts[name] += 1
            depth += 1
            if depth > DEEPEST:
                return False
        elif counts[name]:
            counts[name] -= 1
            depth -= 1
    return True


def _scan(text: str) -> tuple[list[tuple[int, int, str]], tuple[str, int] | None]:
    """Return what is to be replaced, and the first element that swallows the rest of the page."""
    edits: list[tuple[int, int, str]] = []
    counts: dict[str, int] = {}
    depth = formatting = place = 0
    search = _TOKEN.search
    while found := search(text, place):
        place = found.end()
        name = found[2]
        if name is None:
            if found["open"] is not None:
                return edits, ("comment", found.start())
            continue
        name = name.lower()
        if place - found.start() > LONGEST_TAG and text.count("=", found.start(), place) > MOST_ATTRIBUTES:
            edits.append((found.start(), place, f"<{found[1]}{name}"))
        if found[1]:
            if counts.get(name):
                counts[name] -= 1
                depth -= 1
                formatting -= name in _FORMATTING
            continue
        if name in _RAW_END:
            end = _RAW_END[name].search(text, place)
            if end is None:
                if name in ("script", "style") and ">" not in text[place : place + 1]:
                    continue
                return edits, (name, found.start())
            place = end.end()
        elif name not in _NOT_NESTED:
            if depth >= DEEPEST or (name in _FORMATTING and formatting >= MOST_FORMATTING):
                edits.append((found.start(), place + 1, ""))
                continue
            counts[name] = counts.get(name, 0) + 1
            depth += 1
            formatting += name in _FORMATTING
    return edits, None


def _closed(text: str, name: str, at: int) -> str:
    """Close what swallows the rest of a page, and all of its kind that follow."""
    if name == "comment":
        return text[:at] + text[at:].replace("<!--", "")
    if ">" not in text[at:]:
        return text[:at]
    return text[:at] + _SWALLOWED[name].sub(rf"\1</{name}>", text[at:])


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    if not edits:
        return text
    pieces, place = [], 0
    for begin, end, instead in edits:
        pieces += [text[place:begin], instead]
        place = end
    return "".join([*pieces, text[place:]])


@define(eq=False)
class Lines:
    """Finds the lines of words that are asked for in the order of the page; what is scanned is in proportion to it."""

    _text: str
    _cursor: int = 0
    _counted: int = 0
    _line: int = 1
    _window: int = _SEARCHED
    _budget: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._budget = 16 * len(self._text) + 10 * _SEARCHED
        body = self._text.find("<body")
        self._cursor = max(body, 0)

    def line(self, words: str) -> int:
        """Return the line of words as they stand in the page; where the last ones stood if they are not found."""
        at = self._find(words)
        if at >= 0:
            self._cursor = at
        self._line += self._text.count("\n", self._counted, self._cursor)
        self._counted = self._cursor
        return self._line

    def line_ahead(self, words: str) -> int | None:
        """Return the line of words of which it is known that they come later, such as those of a note."""
        at = self._find(words)
        ahead = min(self._budget, max(at - self._counted, 0))
        self._budget -= ahead
        return None if at < 0 else self._line + self._text.count("\n", self._counted, at)

    def _find(self, words: str) -> int:
        probe = words.lstrip()[:_PROBE].rstrip()
        if special := _SPECIAL.search(probe):
            probe = probe[: special.start()]
        if not probe or self._budget <= 0:
            return -1
        end = self._cursor + self._window
        at = self._text.find(probe, self._cursor, end)
        if at < 0:
            self._budget -= min(self._window, len(self._text) - self._cursor)
            self._window = min(2 * self._window, len(self._text) + 1)
        else:
            self._budget -= at - self._cursor
            self._window = _SEARCHED
        return at
