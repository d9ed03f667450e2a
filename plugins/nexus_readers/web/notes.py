"""Footnotes of a page: which links are marks of notes, and which elements are the notes that they lead to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen
from selectolax.lexbor import LexborHTMLParser, LexborNode

_LINKS = ", ".join(
    [
        *(f'a[href^="#{name}" i]' for name in "fn _fn ftn _ftn edn _edn en note foot cite_note".split()),
        *(f'a[href^="#{name}" i]' for name in "sdfootnote sdendnote user-content-fn".split()),
        'sup a[href^="#"]', 'a[href^="#"] sup', 'a[role*="noteref"]', 'a[class*="footnote"]', 'a[class*="noteref"]',
        'a[class*="fnref"]', 'a[class*="reference"]', 'a[class*="endnote"]',
    ]
)  # fmt: skip
_MARK = re.compile(
    r"[\[(]?\s*(\d{1,4}|[*†‡§¶‖#]{1,4}|[A-Za-z]{1,2}|[ivxlc]{1,7}|note \d{1,3}|\w{1,3} \d{1,3})\s*[\])]?"
)
_ADDRESS = re.compile(
    r"#(?:_?(?:fn|ftn|edn|en\d|note|foot|endnote|cite_note|sdfootnote|sdendnote|footnote|user-content-fn))",
    re.IGNORECASE,
)
_CLASS = re.compile(
    r"(?:^|[\s_-])(?:footnote|footnoteref|noteref|fnref|fn|footnote-ref|reference|endnote)(?=$|[\s_-])", re.IGNORECASE
)
_BACK_ADDRESS = re.compile(r"#[\w-]{0,40}?(?:ref(?!erence)|anc\b|back|return)", re.IGNORECASE)
_ROLES = frozenset({"doc-noteref", "noteref"})
_BACK_CLASS = re.compile(r"backlink|back-?ref|reversefootnote|footnote-back", re.IGNORECASE)
_BACK = re.compile(r"[\W\d_]*|[a-z]|\W*(?:back|return|up|zurück|retour)(?: to (?:text|content|top))?\W*", re.IGNORECASE)
_EMPTY_MARK = re.compile(r"\^?\(?\[\s*\]\)?\s*(?=\S)")
"""Of a mark that was a link back."""
_BODIES = frozenset({"li", "p", "div", "aside", "dd", "section", "blockquote", "tr", "td"})
_WITHIN = frozenset({"a", "sup", "span", "b", "strong", "i", "em", "small", "td"})
_NO_NOTE = "h1, h2, h3, h4, h5, h6, table, ul, ol, dl, pre"
_LONGEST = 6_000
_MARKED = "sup, p, small, tfoot td, td[colspan]"
_RAISED_MARK = re.compile(r"[\[(]?(\d{1,2}|[*†‡§]{1,3})[\])]?")
_WRITTEN_MARK = re.compile(r"\s*[\[(]?(\d{1,2}|[*†‡§]{1,3})(?:[\])]|[.:)])?\s+[^\W\d]\S*\s+\S")
_POWER = re.compile(r"(?:(?<![\d.,])10|(?<![^\W\d_])(?:[a-zA-Zα-ωΑ-Ω]|[kcdmµμn]m|ft|in|yd|mi|ha))\s?$|[)\]]$")
"""What a power stands on: ten, a letter, a unit of length, a bracket."""
_CLIMB = 6


@frozen
class Note:
    """A note that a link leads to."""

    mark: str
    body: LexborNode


@define(eq=False)
class Notes:
    """The notes of a page, by the marks that lead to them."""

    _marks: Mapping[int, Note] = field(factory=dict)
    bodies: frozenset[int] = frozenset()
    """What is not read in its place, since it comes after its mark."""

    @classmethod
    def of(cls, page: LexborHTMLParser) -> Notes:
        """Return the notes of a page."""
        raised = raised_notes(page)
        found = page.css(_LINKS)
        links = [link for link in map(_link, found) if _is_mark(link)]
        if not links:
            return cls(raised, frozenset(note.body.mem_id for note in raised.values()))
        named: dict[str, Any] = {}
        for node in page.css("[id], a[name]"):
            said = node.attributes
            for name in (said.get("id"), said.get("name")):
                if name:
                    named.setdefault(name, node)
        marks = raised
        bodies: dict[int, LexborNode | None] = {}
        led: dict[int, LexborNode] = {}
        for link in links:
            target = named.get(_target(link))
            body = _body(target, bodies) if target is not None else None
            if body is None or _is_inside(link, body):
                continue
            before = next((led[above] for above in _above(link) if above in led), None)
            if before is not None and _is_inside(before, body):
                continue  # a note that leads back to where its mark stands
            marks[link.mem_id] = Note(_mark_of(link), body)
            led.setdefault(body.mem_id, link)
        wanted = {note.body.mem_id for note in marks.values()}
        outer = {ancestor for note in marks.values() for ancestor in _above(note.body) if ancestor in wanted}
        marks = {link: note for link, note in marks.items() if note.body.mem_id not in outer}
        return cls(marks, frozenset(wanted - outer))

    def of_link(self, link: LexborNode) -> Note | None:
        """Return the note that a link is the mark of."""
        return self._marks.get(link.mem_id)


def raised_notes(page: LexborHTMLParser) -> dict[int, Note]:
    """Return the notes whose marks are raised and no links, by the elements that are the marks.

    The note is a paragraph further down that begins with the mark. Numbers count from 1 without a gap, and what stands
    on a ten, a unit or a single letter is a power.
    """
    if page.css_first("sup") is None:
        return {}
    marks: list[tuple[LexborNode, str]] = []
    used: set[str] = set()
    found: dict[str, LexborNode] = {}
    for node in page.css(_MARKED):
        mark = _leading_mark(node) if node.tag != "sup" else ""
        if mark and mark in used and mark not in found and _is_note(node):
            found[mark] = node
        elif node.tag == "sup" and (mark := _raised_mark(node)) and not _begins_block(node):
            used.add(mark)
            marks.append((node, mark))
    numbers = {str(number) for number in range(1, 1 + _counted(found))}
    return {
        node.mem_id: Note(mark, found[mark])
        for node, mark in marks
        if mark in found and (mark in numbers or not mark.isdigit()) and not _is_inside(node, found[mark])
    }


def _leading_mark(node: LexborNode) -> str:
    """Return the mark that a paragraph begins with: raised, or before its first words."""
    child = node.first_child
    while child is not None and child.tag == "-text" and not (child.text_content or "").strip():
        child = child.next
    if child is None:
        return ""
    if child.tag == "sup":
        said = _RAISED_MARK.fullmatch(_short_text(child))
        after = child.next
        has_words = after is not None and (after.tag != "-text" or bool((after.text_content or "").strip()))
        return said[1] if said and has_words else ""
    said = _WRITTEN_MARK.match((child.text_content or "")[:60]) if child.tag == "-text" else None
    return said[1] if said else ""


def _begins_block(node: LexborNode) -> bool:
    before = node.prev
    while before is not None and before.tag == "-text" and not (before.text_content or "").strip():
        before = before.prev
    return before is None and node.parent is not None and node.parent.tag in ("p", "small", "td", "div", "li")


def _raised_mark(node: LexborNode) -> str:
    """Return what raised characters say that may be the mark of a note; empty for a power."""
    said = _RAISED_MARK.fullmatch(_short_text(node))
    before = node.prev
    text = (before.text_content or "") if before is not None and before.tag == "-text" else ""
    return said[1] if said and not (said[1].isdigit() and _POWER.search(text[-12:])) else ""


def _short_text(node: LexborNode) -> str:
    """Return the text of an element that has nothing else in it."""
    child = node.first_child
    is_alone = child is not None and child.tag == "-text" and child.next is None
    return (child.text_content or "").strip()[:8] if is_alone and child is not None else ""


def _is_note(node: LexborNode) -> bool:
    return node.css_first(_NO_NOTE) is None and len(node.text().strip()) <= _LONGEST


def _counted(found: Mapping[str, LexborNode]) -> int:
    """Return up to which number there are notes, from 1 on."""
    number = 0
    while str(number + 1) in found:
        number += 1
    return number


def is_back_link(attributes: Mapping[str, str | None], words: str) -> bool:
    """Tell whether a link in a note only leads back to its mark."""
    if attributes.get("role") == "doc-backlink" or _BACK_CLASS.search(attributes.get("class") or ""):
        return True
    return (attributes.get("href") or "").startswith("#") and bool(_BACK.fullmatch(words.strip()))


def without_mark(text: str, mark: str) -> str:
    """Return the text of a note without its own mark at the beginning."""
    empty = _EMPTY_MARK.match(text)
    text = text[empty.end() :] if empty else text
    if text.startswith(f"^{mark}") and not text[len(mark) + 1 : len(mark) + 2].isdigit():
        return text[len(mark) + 1 :].lstrip(" .:)") or text
    found = re.match(rf"\^?[\[(]?\^?\s*{re.escape(mark)}\s*(?:[\])]\s*[.:]?|[.:]|\s(?=\S))\s*", text)
    return text[found.end() :] if found and found.end() < len(text) else text


def _link(node: LexborNode) -> LexborNode:
    """Return the link that raised characters are in."""
    while node.tag != "a" and node.parent is not None:
        node = node.parent
    return node


def _target(link: LexborNode) -> str:
    return (link.attributes.get("href") or "").partition("#")[2]


def _mark_of(link: LexborNode) -> str:
    return " ".join(link.text().split()).strip("[]() ")


def _is_mark(link: LexborNode) -> bool:
    said = link.attributes
    address = said.get("href") or ""
    if not address.startswith("#") or len(address) < 2:
        return False
    if (
        said.get("role") == "doc-backlink"
        or _BACK_ADDRESS.match(address)
        or _BACK_CLASS.search(said.get("class") or "")
    ):
        return False
    if not _MARK.fullmatch(" ".join(link.text().split())[:12]):
        return False
    parent, child = link.parent, link.first_child
    return (
        said.get("role") in _ROLES
        or said.get("epub:type") in _ROLES
        or bool(_ADDRESS.match(address))
        or bool(_CLASS.search(said.get("class") or ""))
        or (parent is not None and parent.tag == "sup")
        or (child is not None and child.tag == "sup")
    )


def _body(target: LexborNode, known: dict[int, LexborNode | None]) -> LexborNode | None:
    """Return the element that is the note of which a link names some part."""
    node: LexborNode | None = target
    for _ in range(_CLIMB):
        if node is None or node.tag not in _WITHIN:
            break
        node = node.parent
    if node is None or node.tag not in _BODIES:
        return None
    if node.mem_id not in known:
        fits = node.css_first(_NO_NOTE) is None and 0 < len(node.text().strip()) <= _LONGEST
        known[node.mem_id] = node if fits else None
    return known[node.mem_id]


def _above(node: LexborNode) -> list[int]:
    found = []
    parent = node.parent
    while parent is not None:
        found.append(parent.mem_id)
        parent = parent.parent
    return found


def _is_inside(node: LexborNode, outer: LexborNode) -> bool:
    return outer.mem_id in _above(node)
