"""What stands inside a line of Markdown: kept as it is written, but for what only a program reads.

Reference links are resolved, pictures that are written into the text (`data:`) give their alternative text alone,
HTML within a sentence becomes what blocks write (`10^6`), entities and escapes become characters. Linear on any text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from html import unescape

from attrs import define, field

_ACTIVE = re.compile(r"[`!<&\\\[]")
_TICKS = re.compile(r"`+")
_START = re.compile(
    r"""(?P<ticks>`+)
    | (?P<math>\$\$[^$]{1,2000}\$\$|(?<![\w$\\])\$(?=[^\s$])[^$\n]{0,300}(?<=[^\s\\])\$(?![\w$]))
    | (?P<escape>\\[!-/:-@\[-`{-~])
    | (?P<note>\[\^[^\[\]\s]{1,100}\])
    | (?P<wiki>!?\[\[[^\[\]]{1,400}\]\])
    | (?P<link>!?\[(?P<text>(?:[^\[\]\\`]|\\.|`[^`\[\]]*`|!?\[[^\[\]]*\](?:\([^()\s]*\))?)*)\]
        (?:\(\s*(?:<(?P<angled>[^<>\n]*)>|(?P<target>(?:[^\s()\\<]|\\.|\([^\s()]*\))*))
            (?:\s+(?P<title>"[^"]*"|'[^']*'|\([^()]*\)))?\s*\)
        | \[(?P<label>[^\[\]]{0,400})\])?)
    | (?P<comment><!--)
    | <(?P<auto>(?:https?|ftp|mailto|tel):[^<>\s]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>
    | <(?P<close>/?)(?P<tag>[A-Za-z][A-Za-z0-9]*)(?P<attributes>(?:\s[^<>]*)?)/?>
    | (?P<entity>&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)
    """,
    re.VERBOSE | re.DOTALL,
)
_UNESCAPED = frozenset("_.-+!&~=%'\",:;?@/^#<>$")
_TAGS = {
    "sup": ("^", ""), "sub": ("_", ""), "del": ("~~", "~~"), "s": ("~~", "~~"), "strike": ("~~", "~~"),
    "code": ("`", "`"), "kbd": ("`", "`"), "tt": ("`", "`"), "samp": ("`", "`"), "br": (" ", " "), "p": (" ", " "),
    "div": (" ", " "), "q": ('"', '"'),
}  # fmt: skip
_TAGS |= dict.fromkeys(
    ["article", "aside", "blockquote", "button", "dd", "dl", "dt", "figcaption", "figure", "footer", "h1", "h2", "h3",
     "h4", "h5", "h6", "header", "hr", "label", "li", "main", "ol", "section", "table", "tbody", "td", "th", "thead",
     "tr", "ul"],
    (" ", " "),
)  # fmt: skip
_DROPPED = frozenset({
    "abbr", "b", "big", "center", "cite", "details", "dfn", "em", "font", "i", "ins", "mark", "picture", "rp", "rt",
    "ruby", "small", "source", "span", "strong", "summary", "time", "u", "var", "wbr",
})  # fmt: skip
_COMPONENT = re.compile(r"<[A-Za-z][\w.-]*\s[^<>]*=[\"'{][^<>]*>|</[A-Za-z][\w.-]*>|<[A-Z][\w.]*\s*/>")
"""A tag that no kind of type is written like: `<TabItem value="npm">`."""
_ATTRIBUTE = re.compile(r"""([A-Za-z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_MARKUP = re.compile(r"[\\`*_\[\]<>&!]")
_STARS = re.compile(r"(\*{1,3})(?=[^\s*])([^*]+)(?<=\S)\1")
_UNDERSCORES = re.compile(r"(?<!\w)(_{1,3})(?=[^\s_])([^_]*(?:(?<=\w)_(?=\w)[^_]*)*)(?<=\S)\1(?!\w)")
_HIDDEN = {ord("*"): "\ue000", ord("_"): "\ue001"}
_SHOWN = {0xE000: "*", 0xE001: "_"}
_LONGEST_PLAIN = 1000
"""Characters of a heading whose markup is looked at."""
_DEEPEST_EMPHASIS = 4


def label_of(text: str) -> str:
    """Return a label as links are compared by it."""
    return " ".join(text.casefold().split())


def inline(text: str, references: Mapping[str, str]) -> str:
    """Return a line of Markdown as blocks have it."""
    if _ACTIVE.search(text) is None:
        return text
    return _Writer(text, references).written()


def words_of(text: str, references: Mapping[str, str]) -> str:
    """Return the words of a heading, without its markup."""
    text = " ".join(text.split())
    if _MARKUP.search(text) is None or len(text) > _LONGEST_PLAIN:
        return text
    text = _Writer(text, references, plain=True).written()
    for _ in range(_DEEPEST_EMPHASIS):
        stripped = _UNDERSCORES.sub(r"\2", _STARS.sub(r"\2", text))
        if stripped == text:
            break
        text = stripped
    return " ".join(text.translate(_SHOWN).split())


def heading_of(text: str) -> str:
    """Return the words of a heading that another format has brought into Markdown; where it has none, it as it is."""
    return words_of(text, {}) or text


def attributes_of(text: str) -> dict[str, str]:
    """Return the attributes of a tag."""
    return {
        found[1].lower(): unescape(next((value for value in found.groups()[1:] if value is not None), ""))
        for found in _ATTRIBUTE.finditer(text)
    }


@define(eq=False)
class _Writer:
    text: str
    references: Mapping[str, str]
    plain: bool = False
    """Words alone are wanted."""
    _pieces: list[str] = field(factory=list)
    _runs: dict[int, list[int]] | None = None
    """Where the runs of backticks of each length begin."""
    _open: list[str] = field(factory=list)
    """The targets of links in HTML that are open."""
    _no_comment_after: int = -1

    def written(self) -> str:
        """Return the text as blocks have it."""
        at = 0
        while found := _START.search(self.text, at):
            self._pieces.append(self.text[at : found.start()])
            at = self._take(found)
        self._pieces.append(self.text[at:])
        self._pieces += [f"]({target})" for target in reversed(self._open)]
        return "".join(self._pieces).strip()

    def _take(self, found: re.Match[str]) -> int:
        """Write what begins here, and return where it ends."""
        kind = found.lastgroup if found["link"] is None else "link"
        if found["ticks"]:
            return self._code(found)
        if found["comment"]:
            return self._comment(found)
        if kind == "link":
            self._link(found)
        elif found["tag"]:
            self._tag(found)
        elif found["auto"]:
            self._pieces.append(found["auto"].removeprefix("mailto:"))
        elif found["entity"]:
            character = unescape(found[0])
            self._pieces.append(" " if character == "\xa0" else character)
        elif found["escape"]:
            self._literal(found[0][1]) if self.plain or found[0][1] in _UNESCAPED else self._pieces.append(found[0])
        elif not (self.plain and found["note"]):
            self._pieces.append(found[0])
        return found.end()

    def _literal(self, text: str) -> None:
        """Write what is no markup, whatever it looks like."""
        self._pieces.append(text.translate(_HIDDEN) if self.plain else text)

    def _code(self, found: re.Match[str]) -> int:
        if self._runs is None:
            self._runs = {}
            for run in _TICKS.finditer(self.text):
                self._runs.setdefault(len(run[0]), []).append(run.start())
        places = self._runs.get(len(found[0]), [])
        after = bisect_left(places, found.end())
        if after == len(places):
            self._pieces.append(found[0])
            return found.end()
        begin, end = found.end(), places[after]
        if self.plain:
            self._literal(self.text[begin:end].strip())
        else:
            self._pieces.append(self.text[found.start() : end + len(found[0])])
        return end + len(found[0])

    def _comment(self, found: re.Match[str]) -> int:
        end = -1 if 0 <= self._no_comment_after <= found.start() else self.text.find("-->", found.end() - 2)
        if end >= 0:
            return end + 3
        self._no_comment_after = found.start()
        self._pieces.append(found[0])
        return found.end()

    def _link(self, found: re.Match[str]) -> None:
        target = found["angled"] if found["angled"] is not None else found["target"]
        is_picture = found[0].startswith("!")
        if target is None:
            label = label_of(found["label"] or found["text"])
            target = self.references.get(label)
            if target is None:
                self._pieces.append(found[0][: 1 + is_picture])
                self._pieces.append(self._inner(found["text"]))
                self._pieces.append("]" if found["label"] is None else f"][{found['label']}]")
                return
        words = self._inner(found["text"])
        if (is_picture and (self.plain or target.lower().startswith("data:"))) or self.plain:
            self._pieces.append(words)
        else:
            written = f"<{target}>" if " " in target else target
            self._pieces.append(f"{'!' * is_picture}[{words}]({written})")

    def _inner(self, text: str) -> str:
        return inline(text, self.references) if not self.plain else _Writer(text, self.references, plain=True).written()

    def _tag(self, found: re.Match[str]) -> None:
        tag, closing = found["tag"].lower(), bool(found["close"])
        if tag == "img":
            told = attributes_of(found["attributes"])
            alt, source = told.get("alt", ""), told.get("src", "")
            is_inside = self.plain or not source or source.startswith("data:")
            self._pieces.append(alt if is_inside else f"![{alt}]({source})" if alt else "")
        elif tag == "a" and not closing:
            target = attributes_of(found["attributes"]).get("href", "")
            if target and not self.plain:
                self._open.append(target)
                self._pieces.append("[")
        elif tag == "a":
            if self._open:
                self._pieces.append(f"]({self._open.pop()})")
        elif tag in _TAGS:
            mark = _TAGS[tag][closing]
            self._pieces.append("" if self.plain and mark in ("`", "~~") else mark)
        elif tag not in _DROPPED and not _COMPONENT.fullmatch(found[0]):
            self._literal(found[0])  # `List<String>` is no HTML
