"""Reads XML: prose with its titles, lists and tables (DocBook, TEI and the like); other files as keys and values."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

from attrs import define

from nexus_core import (
    Block,
    Code,
    Figure,
    Footnote,
    Heading,
    ListItem,
    Paragraph,
    Place,
    Quotation,
    ReadHints,
    Remark,
    SourceError,
    Table,
    component,
)
from nexus_core.toolkit import Cell, table_rows
from nexus_readers.data.values import merged, one_line, value_blocks
from nexus_readers.data.xml_tree import Element, XmlTree
from nexus_readers.text.source_text import read_text

_TITLES = frozenset({"title", "head", "heading", "bridgehead", "h1", "h2", "h3", "h4", "h5", "h6"})
_PROSE = frozenset({"p", "para", "simpara", "ab", "formalpara", "lg"})
_CODE = frozenset(
    {"programlisting", "screen", "literallayout", "codeblock", "pre", "eg", "listing", "synopsis", "code"}
)
_ITEMS = frozenset({"listitem", "li", "item", "list-item", "member", "step", "dd"})
_QUOTES = frozenset({"blockquote", "quote", "cit", "epigraph"})
_TABLES, _ROWS = frozenset({"table", "informaltable", "tgroup"}), frozenset({"row", "tr"})
_CELLS = frozenset({"entry", "cell", "td", "th"})
_FIGURES = frozenset({"graphic", "imagedata", "img", "image"})
_FLOATS = frozenset(
    "figure example informalexample note tip warning caution important formalpara procedure itemizedlist orderedlist "
    "variablelist blockquote abstract equation step task legalnotice fig boxed-text".split()
)
"""What stands within a section: its title heads nothing that follows."""
_PICTURES = frozenset({"figure", "informalfigure", "mediaobject", "inlinemediaobject", "fig"})
_NAMED = frozenset(
    {
        "term",
        "phrase",
        "personname",
        "subtitle",
        "orgname",
        "corpauthor",
        "glossterm",
        "refname",
        "label",
        "cmd",
        "shortdesc",
        "dt",
    }
)
"""Elements whose few words need no name before them."""
_NOTES = frozenset({"footnote", "note", "fn"})
_WORDS_IN = ("title", "alt", "label", "summary", "caption", "description", "desc", "name", "value")
"""Attributes whose words people read."""
_TAG = re.compile(r"<!--(?:(?!-->).)*+(?:-->|\Z)|<!\[CDATA\[|\]\]>|</?[^<>]{0,2000}>", re.DOTALL)
_MAY_BE_HTML = frozenset({"description", "content", "encoded", "summary", "body", "text"})
_IS_HTML = re.compile(r"</(?:p|a|b|i|em|strong|div|span|li|ul|h[1-6]|td|pre|code)>|<br ?/?>", re.IGNORECASE)
"""A page that is the text of an element, as feeds have it."""
_LINE_TAG = re.compile(r"</?(?:p|div|br|li|ul|ol|h[1-6]|td|th|tr|table|pre|blockquote)\b[^<>]{0,500}>", re.IGNORECASE)
_DEEPEST_VALUES = 200
_MOST_IN_PICTURE = 60
_OWN_LINES = frozenset({"br", "lb", "title", "l", "line", "dt", "dd", "cmd", "label"})
_LINKS = frozenset({"link", "ulink", "ref", "a", "ext-link", "uri", "xref"})
_OUTSIDE = ("http://", "https://", "ftp://", "mailto:", "tel:")


@component
class XmlReader:
    """Reads .xml."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks; what follows a fault comes without its markup."""
        decoded = read_text(file, hints)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        tree = XmlTree(decoded.text)
        root = tree.build()
        if tree.problem and not root.elements and "<" not in decoded.text:
            raise SourceError(f"{tree.problem}; left out")
        for element in _all_of(root):
            if element.name in _MAY_BE_HTML and element.is_leaf and _IS_HTML.search(page := element.text()):
                element.parts[:] = [html.unescape(_TAG.sub("", _LINE_TAG.sub("\n", page)))]
        if any(map(_is_prose, _all_of(root))):
            yield from _Prose().blocks(root)
        else:
            for element in root.elements:
                yield from value_blocks(_value(element))
        if tree.has_outside:
            yield Remark(text="takes text from other files (external entities), which is left out", lost=True)
        if tree.problem:
            yield Remark(text=f"{tree.problem}; what follows is read without its markup")
            for text in html.unescape(_TAG.sub("\n", tree.rest)).split("\n\n"):
                if text.strip():
                    yield Paragraph(text=one_line(text))


def _all_of(root: Element) -> Iterator[Element]:
    waiting = [root]
    while waiting:
        element = waiting.pop()
        yield element
        waiting.extend(element.elements)


def _is_prose(element: Element) -> bool:
    return element.name in _PROSE or element.is_mixed


@define(eq=False, repr=False)
class _Prose:
    """Walks through a document, and tells its blocks in the order of the file."""

    notes: int = 0

    def blocks(self, root: Element) -> Iterator[Block]:
        """Yield the blocks of an element; without recursion, since elements may be deep in each other."""
        waiting: list[tuple[Element, int, int]] = [(root, 1, 0)]
        begun_item: Element | None = None
        while waiting:
            element, level, depth = waiting.pop()
            made = self._whole(element, level, depth)
            if made is not None:
                if made and element is begun_item and isinstance(made[0], Paragraph):
                    made[0] = ListItem(text=made[0].text, depth=max(1, depth), place=made[0].place)
                yield from made
                continue
            yield from _attribute_words(element)
            titled = any(part.name in _TITLES for part in element.elements)
            depth += element.name in _ITEMS or element.name in _QUOTES
            titled = titled and element.name not in _FLOATS
            below = [(part, level if titled else 0, depth) for part in element.elements if part.name in _TITLES]
            below = below[:1] if element.parts else []
            rest = [(part, level + titled, depth) for part in element.elements if not below or part is not below[0][0]]
            waiting.extend(reversed([*below, *rest]))
            if element.name in _ITEMS and waiting:
                begun_item = waiting[-1][0]

    def _whole(self, element: Element, level: int, depth: int) -> list[Block] | None:
        """Return the blocks of an element that is one in whole, None for one whose parts are looked at."""
        place = Place(line=element.line)
        if element.name in _TITLES:
            text = one_line(inline_text(element))
            if not text:
                return []
            return [Heading(text=text, level=level, place=place) if level else Paragraph(text=text, place=place)]
        if element.name in _CODE and not any(part.name in _CODE for part in element.elements):
            return [Code(text=element.text().strip("\n"), place=place)] if element.text().strip() else []
        if element.name in _TABLES:
            return _table(element)
        if element.name in _FIGURES:
            return [*_attribute_words(element)]
        if element.name in _PICTURES and _is_picture(element):
            return _picture(element)
        if element.is_leaf or element.is_mixed or element.name in _PROSE:
            return self._text(element, depth, place)
        return None

    def _text(self, element: Element, depth: int, place: Place) -> list[Block]:
        notes: list[Footnote] = []
        text = one_line(inline_text(element, notes, self.notes))
        self.notes += len(notes)
        blocks: list[Block] = [*_attribute_words(element)]
        if not text:
            return [*blocks, *notes]
        if element.name in _ITEMS:
            blocks.append(ListItem(text=text, depth=depth + 1, place=place))
        elif element.name in _QUOTES:
            blocks.append(Quotation(text=text, place=place))
        elif element.is_leaf and element.name not in _PROSE and element.name not in _NAMED and len(text.split()) < 4:
            blocks.append(Paragraph(text=f"{element.name}: {text}", place=place))
        else:
            blocks.append(Paragraph(text=text, place=place))
        return [*blocks, *notes]


def inline_text(element: Element, notes: list[Footnote] | None = None, before: int = 0) -> str:
    """Return the text of an element; notes in it become marks, and are added to a list."""
    pieces: list[str] = []
    waiting: list[str | Element] = list(reversed(element.parts))
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            pieces.append(part)
        elif notes is not None and part.name in _NOTES and (part.name != "note" or _is_line(part)):
            mark = str(before + len(notes) + 1)
            pieces.append(f"[^{mark}]")
            notes.append(Footnote(mark=mark, text=one_line(part.text()), place=Place(line=part.line)))
        elif part.name in ("sup", "superscript", "sub", "subscript") and part.is_leaf:
            pieces.append(("^" if part.name.startswith("sup") else "_") + part.text().strip())
        elif part.name in _LINKS and (target := _target(part)):
            words = one_line(part.text())
            pieces.append(f"[{words}]({target})" if words and words != target else target)
        else:
            apart = part.name in _PROSE or part.name in _ITEMS or part.name in _OWN_LINES
            waiting.extend([" "] * apart + [*reversed(part.parts)] + [" "] * apart)
    return "".join(pieces)


def _is_line(note: Element) -> bool:
    return not any(part.name in _PROSE for part in note.elements)


def _target(link: Element) -> str:
    """Return the address that a link leads to outside of its document."""
    for name, value in link.attributes.items():
        if name.rpartition(":")[2] in ("href", "url", "target") and value.startswith(_OUTSIDE) and " " not in value:
            return value.replace("(", "%28").replace(")", "%29")
    return ""


def _is_picture(element: Element) -> bool:
    parts = list(islice(_all_of(element), _MOST_IN_PICTURE + 1))
    others = any(part.name in _CODE or part.name in _TABLES or part.name in _ITEMS for part in parts)
    return len(parts) <= _MOST_IN_PICTURE and not others


def _picture(element: Element) -> list[Block]:
    """Return a picture by what is written about it."""
    titles, words = list[str](), list[str]()
    named = [part for part in _all_of(element) if part.name in (*_TITLES, "caption")]
    told = {id(inner) for part in named for inner in _all_of(part)}
    for part in [*_all_of(element)][::-1]:
        if part in named:
            titles.append(one_line(inline_text(part)))
        elif id(part) in told:
            continue
        elif part.name in ("phrase", "alt") or part.name in _PROSE:
            words.append(one_line(inline_text(part)))
        elif part.name in _FIGURES:
            words += [block.text for block in _attribute_words(part) if isinstance(block, Figure)]
    text, caption = (" ".join(dict.fromkeys(filter(None, each))) for each in (words, titles))
    return [Figure(text=text, caption=caption, place=Place(line=element.line))] if text or caption else []


def _attribute_words(element: Element) -> Iterator[Block]:
    """Yield the attributes that hold words: a figure by its text, others with their names."""
    for name, value in element.attributes.items():
        plain = name.rpartition(":")[2]
        if element.name in _FIGURES and plain in ("alt", "title", "desc"):
            yield Figure(text=one_line(value), place=Place(line=element.line))
        elif name.startswith("xml") or "://" in value:
            continue
        elif value.strip() and (" " in value.strip() or plain in _WORDS_IN):
            yield Paragraph(text=f"{plain}: {one_line(value)}", place=Place(line=element.line))


def _table(element: Element) -> list[Block]:
    """Return a table, its caption and its header."""
    caption = next((one_line(inline_text(part)) for part in element.elements if part.name in (*_TITLES, "caption")), "")
    rows: list[list[Cell]] = []
    header_rows = 0
    for row in _all_rows(element):
        cells = [part for part in row[0].elements if part.name in _CELLS]
        is_header = row[1] or (bool(cells) and all(cell.name == "th" for cell in cells))
        header_rows += is_header and header_rows == len(rows)
        rows.append([_cell(cell) for cell in cells])
    texts = list(table_rows(rows))
    header = texts[0] if header_rows and texts else ()
    if not texts:
        text = one_line(element.text())
        return [Paragraph(text=text, place=Place(line=element.line))] if text else []
    return [Table(header=header, rows=tuple(texts[bool(header) :]), caption=caption, place=Place(line=element.line))]


def _all_rows(table: Element) -> Iterator[tuple[Element, bool]]:
    """Yield the rows of a table, and whether each is in its head; rows of tables in it stand in their cells."""
    waiting = [(part, False) for part in reversed(table.elements)]
    while waiting:
        element, is_head = waiting.pop()
        if element.name in _ROWS:
            yield element, is_head or element.attributes.get("role") == "label"
        else:
            waiting.extend((part, is_head or element.name == "thead") for part in reversed(element.elements))


def _cell(element: Element) -> Cell:
    def count(*names: str) -> int:
        value = next((element.attributes[name] for name in names if name in element.attributes), "1")
        return int(value) if value.isdecimal() and len(value) < 6 else 1

    rows = count("rowspan", "rows")
    if "morerows" in element.attributes:
        rows = count("morerows") + 1
    return Cell(one_line(inline_text(element)), count("colspan", "cols"), rows)


def _value(element: Element, depth: int = 0) -> Any:
    """Return an element without prose as a value: what repeats in one run is a list, everything in its order."""
    parts = element.elements
    named = [(name.rpartition(":")[2], value) for name, value in element.attributes.items() if not _is_technical(name)]
    if not parts or depth > _DEEPEST_VALUES:
        text = element.text().strip()
        if not named:
            return text
        return merged([*named, *([("text", text)] if text else [])])
    runs: list[tuple[str, list[Any]]] = []
    for part in parts:
        if runs and runs[-1][0] == part.name:
            runs[-1][1].append(_value(part, depth + 1))
        else:
            runs.append((part.name, [_value(part, depth + 1)]))
    pairs = [*named, *((name, values if len(values) > 1 else values[0]) for name, values in runs)]
    if len({name for name, _ in pairs}) < len(pairs):
        return [{name: value} for name, value in pairs]  # mixed names: their order says something
    return dict(pairs)


def _is_technical(name: str) -> bool:
    return name.startswith(("xmlns", "xml:", "xsi:"))
