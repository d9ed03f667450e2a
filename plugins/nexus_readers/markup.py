"""Parses HTML into a tree, in time and memory proportional to the text, whatever the text is.

No parser at hand keeps that promise: html.parser reads the rest of the page again at each `<a ` that never ends, and
the algorithm of HTML5 copies all open formatting into each paragraph. This one knows which end tags may be left out,
what void and raw elements are, and never looks twice at what it has passed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from html import unescape
from types import MappingProxyType

from attrs import define, field

LOOKED_UP = 64
"""How many open elements are looked at for one whose end tag was left out."""

_VOID = frozenset(
    "area base br col embed hr img input link meta param source track wbr basefont bgsound frame keygen".split()
)
_RAW = frozenset("script style textarea title xmp iframe noembed noframes".split())
_ESCAPED_RAW = frozenset({"textarea", "title"})
_TRANSPARENT = frozenset({"html", "body"})
"""Their tags may be left out, so nothing depends on them."""
_IN_HEAD = _RAW | {"base", "link", "meta", "template", "basefont", "bgsound"}
_BLOCKS = frozenset(
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer form h1 h2 h3 "
    "h4 h5 h6 header hgroup hr main menu nav ol p pre search section summary table ul".split()
)
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_CELLS = frozenset({"td", "th", "caption"})
_ROW_GROUPS = frozenset({"thead", "tbody", "tfoot"})
_NO_PARAGRAPH_ABOVE = _BLOCKS - {"p"} | _CELLS | {"li", "dd", "dt", "button", "object"}

# What a start tag ends, and what it does not look beyond.
_ENDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "li": (frozenset({"li"}), frozenset({"ul", "ol", "menu", "table"})),
    "dt": (frozenset({"dt", "dd"}), frozenset({"dl", "table"})),
    "dd": (frozenset({"dt", "dd"}), frozenset({"dl", "table"})),
    "option": (frozenset({"option"}), frozenset({"select", "datalist"})),
    "tr": (_CELLS | {"tr"}, frozenset({"table"})),
    **dict.fromkeys(_CELLS, (_CELLS, frozenset({"tr", "table"}))),
    **dict.fromkeys(_ROW_GROUPS, (_CELLS | _ROW_GROUPS | {"tr"}, frozenset({"table"}))),
}

_TAG_NAME = re.compile(r"[A-Za-z][^\s/>]*+")
_BETWEEN = re.compile(r"[\s/]*+")
_ATTRIBUTE = re.compile(r"=?[^\s/>=]*+")
_EQUALS = re.compile(r"\s*+=\s*+")
_UNQUOTED = re.compile(r"[^\s>]*+")
_ENDLESS_NUMBER = re.compile(r"&#[xX]?[0-9a-fA-F]{9,}+;?")


_NONE: Mapping[str, str] = MappingProxyType({})


@define(eq=False, repr=False)
class Node:
    """An element, with texts and elements inside."""

    name: str
    attributes: Mapping[str, str] = _NONE
    parent: Node | None = None
    line: int | None = None
    """Of its start tag, from 1."""
    children: list[Node | str] = field(factory=list)

    def walk(self) -> Iterator[Node]:
        """Yield the elements inside in the order of their start tags; a stack, since trees may be deep."""
        waiting = [child for child in reversed(self.children) if isinstance(child, Node)]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend([child for child in reversed(node.children) if isinstance(child, Node)])


def parse(text: str) -> Node:
    """Return the tree of a page; its root has no name. Comments, declarations and instructions are not in it."""
    builder = _Builder(text)
    builder.run()
    return builder.root


class _Builder:
    def __init__(self, text: str) -> None:
        self.root = Node("")
        self._text = text
        self._open = [self.root]
        self._counts = Counter[str]()
        """How many elements of a name are open."""
        self._found: dict[str, int] = {}
        """Where a text comes next, as far as that was looked for; the length of the page where it does not."""
        self._absent: set[str] = set()
        """The raw elements that are known not to end any more."""
        self._line, self._counted_to = 1, 0

    def run(self) -> None:
        """Read the page from its beginning to its end."""
        text, place = self._text, 0
        while place < len(text):
            begin = text.find("<", place)
            if begin < 0 or self._end_of(">", begin) < 0:  # no tag any more
                self._add(text[place:])
                return
            self._add(text[place:begin])
            place = self._markup(begin)

    def _end_of(self, what: str, begin: int) -> int:
        """Return where a text next ends, -1 if it does not come; no stretch of the page is searched for it twice."""
        found = self._found.get(what, -1)
        if found < begin:
            found = self._text.find(what, begin)
            found = self._found[what] = found if found >= 0 else len(self._text)
        return found + len(what) if found < len(self._text) else -1

    def _markup(self, begin: int) -> int:
        """Take what a `<` begins, and return where it ends."""
        text = self._text
        if name := _TAG_NAME.match(text, begin + 1):
            return self._start_tag(begin, name[0].lower(), name.end())
        if text.startswith("</", begin):
            if name := _TAG_NAME.match(text, begin + 2):
                self._close(name[0].lower())
            return self._end_of(">", begin)
        for opening, closing in (("<!--", "-->"), ("<![CDATA[", "]]>")):
            if text.startswith(opening, begin):
                # Two hyphens may belong to both ends: `<!-->` is a whole comment.
                end = self._end_of(closing, begin + 2)
                return end if end >= 0 else self._end_of(">", begin)
        if text.startswith(("<!", "<?"), begin):
            return self._end_of(">", begin)
        self._add("<")
        return begin + 1

    def _start_tag(self, begin: int, name: str, place: int) -> int:
        attributes, place, closed = self._attributes(place)
        if self._open[-1].name == "head" and name not in _IN_HEAD:
            self._pop()
        if name in _TRANSPARENT:
            return place
        self._end_what_it_ends(name)
        node = Node(name, attributes, self._open[-1], self._line_of(begin))
        self._open[-1].children.append(node)
        if name in _RAW and not closed:
            return self._raw(node, place)
        if name not in _VOID and not closed:
            self._open.append(node)
            self._counts[name] += 1
        return place

    def _attributes(self, place: int) -> tuple[Mapping[str, str], int, bool]:
        """Return the attributes from a place on, where the tag ends, and whether it closes itself."""
        text = self._text
        if text[place] == ">":
            return _NONE, place + 1, False
        found: dict[str, str] = {}
        while True:
            between = _BETWEEN.match(text, place)
            place = between.end() if between else place
            if place >= len(text) or text[place] == ">":
                return found, place + 1, text[place - 1 : place] == "/"
            name = _ATTRIBUTE.match(text, place)
            key = name[0].lower() if name else ""
            place = name.end() if name else place + 1
            value = ""
            if equals := _EQUALS.match(text, place):
                value, place = self._value(equals.end())
            found.setdefault(key, value)

    def _value(self, place: int) -> tuple[str, int]:
        text, quote = self._text, self._text[place : place + 1]
        if quote in ('"', "'") and (end := self._end_of(quote, place + 1)) >= 0:
            return _unescaped(text[place + 1 : end - 1]), end
        plain = _UNQUOTED.match(text, place)
        return (_unescaped(plain[0]), plain.end()) if plain else ("", place)

    def _raw(self, node: Node, place: int) -> int:
        """Take the text of an element in which nothing is markup; without an end tag a title is empty."""
        name = node.name
        closing = None
        if name not in self._absent:
            closing = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(self._text, place)
        if closing is None:
            self._absent.add(name)
            return len(self._text) if name in ("script", "style") else place
        held = self._text[place : closing.start()]
        node.children.append(_unescaped(held) if name in _ESCAPED_RAW else held)
        end = self._end_of(">", closing.end())
        return end if end >= 0 else len(self._text)

    def _end_what_it_ends(self, name: str) -> None:
        if name in _BLOCKS:
            if name in _HEADINGS and self._open[-1].name in _HEADINGS:
                self._pop()
            self._end_nearest(frozenset({"p"}), _NO_PARAGRAPH_ABOVE)
        elif name in _ENDS:
            self._end_nearest(*_ENDS[name])

    def _end_nearest(self, names: frozenset[str], bounds: frozenset[str]) -> None:
        """End the outermost open element of some names, looking up to a bound."""
        if not any(self._counts[name] for name in names):
            return
        found = 0
        for depth, node in enumerate(reversed(self._open[-LOOKED_UP:]), 1):
            if node.name in bounds:
                break
            if node.name in names:
                found = depth
        for _ in range(found):
            self._pop()

    def _close(self, name: str) -> None:
        """Take an end tag; one that nothing open belongs to is passed over, and none ends a table from inside."""
        if not self._counts[name]:
            return
        if name != "table" and self._counts["table"]:
            for node in reversed(self._open[-LOOKED_UP:]):
                if node.name == name:
                    break
                if node.name == "table":
                    return
        while self._pop() != name:
            continue

    def _pop(self) -> str:
        node = self._open.pop()
        self._counts[node.name] -= 1
        return node.name

    def _add(self, text: str) -> None:
        if text:
            self._open[-1].children.append(_unescaped(text))

    def _line_of(self, place: int) -> int:
        self._line += self._text.count("\n", self._counted_to, place)
        self._counted_to = place
        return self._line


def _unescaped(text: str) -> str:
    # A number of thousands of digits is an error to Python, and no character.
    return unescape(_ENDLESS_NUMBER.sub("\ufffd", text)) if "&" in text else text
