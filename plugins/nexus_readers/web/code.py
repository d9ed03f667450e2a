"""Code of a page: its lines as they are shown, without their numbers, and its language."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from attrs import define, field
from selectolax.lexbor import LexborNode

from nexus_readers.web.styles import Styles

_NUMBERS = re.compile(
    r"(?:^|[\s_-])(?:line-?no|line-?nos|line-?num|line-?nums|line-?numbers?|linenumbers?|linenos|lnt|ln|gutter|"
    r"rouge-gutter|blob-num|hljs-ln-numbers|hljs-ln-line-numbers|react-line-number|linenodiv|code-line-number|"
    r"line-numbers-rows)(?=$|[\s_])",
    re.IGNORECASE,
)
_LANGUAGE = re.compile(
    r"(?:^|\s)(?:(?:language|lang|highlight-source|highlight-text|highlight)[-:]|brush(?::\s*|\s+))"
    r"([A-Za-z][\w+#.-]*)",
    re.IGNORECASE,
)
_NOT_A_LANGUAGE = frozenset(
    "none tab-size plaintext text txt plain nohighlight default notranslate source box wrapper container".split()
)
_KNOWN = frozenset(
    "bash c cpp csharp css diff dockerfile go graphql haskell html http ini java javascript js json kotlin lua "
    "makefile markdown matlab nginx objectivec perl php powershell python py r ruby rust scala scss sh shell sql swift "
    "toml ts typescript xml yaml yml console".split()
)
_HOSTS = re.compile(
    r"syntaxhighlighter|hljs-ln\b|js-file-line-container|highlight|codehilite|code-?(?:block|table|view)", re.IGNORECASE
)
_NOT_PLAIN = (
    "br, div, p, li, tr, button, svg, script, style, input, select, textarea, template, [style], [hidden], "
    "[aria-hidden], "
    "[data-line-number], [class*=line-n i], [class*=line_n i], [class*=linen i], [class*=lnt i], [class~=ln], "
    "[class*=gutter i], [class*=blob-num], [class*=hljs-ln], span:not([class]), b, i, em"
)
"""What code holds that is more than coloured words."""
_LINE_CLASS = re.compile(
    r"(?:^|\s)(?:line|code-line|token-line|view-line|blob-code|js-file-line|hljs-ln-code|CodeMirror-line)(?=$|\s)"
)
MOST_HOSTS = 3
"""Such tables and divisions in each other that are looked through."""
_BLOCKS = frozenset("address article blockquote div dd dl dt li ol p section table tr ul".split())
_MAY_NUMBER = frozenset({"span", "td", "th", "a", "b", "i", "em"})
_UNSEEN = frozenset("button script style template svg select input textarea".split())
_NUMBER = re.compile("\1[ \t]*(\\d{1,7})[.:]?[ \t]*\2")


def may_hold_code(classes: str) -> bool:
    """Tell whether a table or division is called as programs that show code call it."""
    return _HOSTS.search(classes) is not None


def is_code_host(node: LexborNode) -> bool:
    """Tell whether a table or division outside of `pre` holds lines of code, each in an element of its own."""
    if node.css_first("pre") is not None:
        return False
    lines = node.css("[class]")
    return any(_LINE_CLASS.search(line.attributes.get("class") or "") for line in lines[:40])


def tells_numbers(classes: str | None) -> bool:
    """Tell whether an element holds the numbers of lines, by its classes."""
    return classes is not None and _tells_numbers(classes)


def language_of(node: LexborNode) -> str:
    """Return the language that the classes of code, or of what is around it, name."""
    inner = node.css_first("code[class]")
    around: list[LexborNode | None] = [inner, node, node.parent, node.parent.parent if node.parent else None]
    for one in around:
        if one is None or one.tag in ("body", "html", "article", "main"):
            continue
        attributes = one.attributes
        said = attributes.get("data-lang") or attributes.get("data-language") or ""
        classes = attributes.get("class") or ""
        classes += f" {attributes.get('data-syntaxhighlighter-params') or ''}"
        found = _LANGUAGE.search(classes)
        said = said or (found[1] if found else "")
        if not said:
            said = next((name for name in classes.split() if name.lower() in _KNOWN), "")
        if said and said.lower() not in _NOT_A_LANGUAGE:
            return said.lower()
    return ""


@define(eq=False)
class _Lines:
    pieces: list[str] = field(factory=list)

    def end(self) -> None:
        """End the line, unless nothing stands on it."""
        if self.pieces and not self.pieces[-1].endswith("\n"):
            self.pieces.append("\n")


def code_text(node: LexborNode, styles: Styles) -> str:
    """Return the lines of code as they are shown."""
    if styles.is_empty and node.css_first(_NOT_PLAIN) is None:
        return _tidied(node.text())
    lines = _Lines()
    waiting: list[LexborNode | None] = [node.first_child]
    ends: list[tuple[str, int]] = []
    while waiting:
        one = waiting.pop()
        if one is None:
            if ends:
                _leave(lines, *ends.pop())
            continue
        waiting.append(one.next)
        tag = one.tag or ""
        if tag == "-text":
            lines.pieces.append(one.text_content or "")
        elif tag == "br":
            lines.pieces.append("\n")
        elif (end := _enter(one, tag, lines, styles)) is not None:
            ends.append((end, len(lines.pieces)))
            waiting.append(one.first_child)
    return _tidied("".join(lines.pieces))


def _enter(node: LexborNode, tag: str, lines: _Lines, styles: Styles) -> str | None:
    """Begin an element; return what is to be done where it ends, None where it is not seen."""
    if tag in _UNSEEN or tag[0] == "-":
        return None
    attributes = node.attributes
    if not attributes and tag not in _BLOCKS and tag not in _MAY_NUMBER:
        return ""
    look = styles.look(tag, attributes)
    classes, style = attributes.get("class"), attributes.get("style")
    if look.hidden or (classes and _tells_numbers(classes)) or "data-line-number" in attributes:
        return None
    if style and "user-select:none" in style.replace(" ", ""):
        return None
    block = (
        look.display not in ("inline", "inline-block") if tag in _BLOCKS else look.display in ("block", "flex", "grid")
    )
    if block:
        lines.end()
        return "line"
    # The colours of a program are spans with a class, and its numbers no numbers of lines.
    text = (node.text(deep=False) if tag in _MAY_NUMBER and (not classes or tag in ("td", "th")) else "").strip()
    if text.rstrip(".:").isdigit():
        lines.pieces.append("\1")
        return "number"
    return ""


@lru_cache(maxsize=1000)
def _tells_numbers(classes: str) -> bool:
    return _NUMBERS.search(classes) is not None


def _leave(lines: _Lines, end: str, begin: int) -> None:
    if end == "number":
        lines.pieces.append("\2")
    elif end == "line":
        if len(lines.pieces) == begin:
            lines.pieces.append("\n")  # an empty line
        lines.end()


def _tidied(text: str) -> str:
    text = text.replace("\xa0", " ").replace("\u200b", "")
    lines = text.split("\n")
    if "\1" in text:
        found = [_NUMBER.match(line) for line in lines if line.strip()]
        numbers = [int(number[1]) for number in found if number]
        counted = len(numbers) == len(found) > 1 and all(b == a + 1 for a, b in pairwise(numbers))
        if counted:
            lines = [_NUMBER.sub("", line, count=1) for line in lines]
            if all(line.startswith(" ") for line in lines if line.strip()):
                lines = [line[1:] for line in lines]
        lines = [line.replace("\1", "").replace("\2", "") for line in lines]
    lines = [line.rstrip() for line in lines]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines)
