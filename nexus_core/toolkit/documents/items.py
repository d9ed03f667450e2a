"""From the blocks of a document to its items: one for each section of a long document, one for the whole of a short."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from posixpath import basename
from typing import Any

from attrs import define, evolve, field, frozen

from nexus_core.contract.blocks import Block, Heading, Metadata, PageBreak, Remark
from nexus_core.contract.run_context import narrow_readers, parse_readers
from nexus_core.contract.values import Item
from nexus_core.toolkit.documents.block_text import is_code, kind_of, length_of
from nexus_core.toolkit.documents.links import markdown_links, targets
from nexus_core.toolkit.documents.sections import SHORT, Section, anchored, parts_of, sections_of, shortened, slug

AHEAD = 20_000
"""Blocks of a document that are looked at before its first item is made: by them its title is chosen."""
MOST_REMARKS = 200
READERS = "readers"
"""The name of the value by which a document says who alone may see it."""
_WRITTEN_BY_PROGRAMS = re.compile(
    r"\s*(?:microsoft (?:word|powerpoint|excel)\b.*|untitled.*|\(?(?:anonymous|unspecified|no title|title)\)?"
    r"|(?:(?:document|slide|presentation|sheet|book|page)\s*\d*)|.*[\\/].*|.*\.(?:docx?|pptx?|xlsx?|odt|rtf|tex|dvi|pdf|html?|indd|qxd|pmd|wpd)|[\W\d_]*)\s*",
    re.IGNORECASE | re.DOTALL,
)
"""Titles in the properties of a file that no person has given it."""


@frozen(kw_only=True, eq=False, repr=False)
class DocumentName:
    """How a document is called, and when it was changed."""

    name: str
    """As people see it: a path with slashes, a URL."""
    modified_ns: int
    """Since 1970; 0 where nothing tells."""


@define(kw_only=True, eq=False, repr=False)
class ItemMaker:
    """Makes the items of one document, and collects what its reader remarks."""

    document: DocumentName
    sections: bool = True
    """One item for each section of a long document; or one in all."""
    links: bool = False
    """Items tell in their metadata where they link to."""
    remarks: list[str] = field(factory=list)
    """What was read with doubt or is missing; complete once all items were taken."""

    def items(self, blocks: Iterable[Block]) -> Iterator[Item]:
        """Yield the items as they come."""
        content = self._content(blocks)
        ahead = list(islice(content, AHEAD))
        metadata = [block for block in ahead if isinstance(block, Metadata)]
        first = metadata[0] if metadata else Metadata()
        ahead = [block for block in ahead if not isinstance(block, Metadata)]
        top = _top(ahead, first)
        title = top.text if top is not None else sensible_title(first.title)
        title = self.document.name if not title and is_code(ahead) else title
        maker = _SectionItems(self.document, title, first, self.links, self._readers(metadata))
        rest = (block for block in content if not isinstance(block, Metadata))
        if not self.sections or (len(ahead) < AHEAD and _is_short(ahead)):
            yield from maker.whole([*ahead, *rest], top)
            return
        for section in sections_of(chain(ahead, rest)):
            for part in parts_of(section):
                yield from maker.item(part)

    def _readers(self, metadata: Iterable[Metadata]) -> tuple[str, ...]:
        """Return who alone may see the document, as it says itself: with a mistake in it nobody is shown it."""
        readers: tuple[str, ...] = ()
        for told in metadata:
            for name, value in told.values.items():
                if name.partition(".")[0].lower() == READERS:
                    groups, remark = parse_readers(value if name.lower() == READERS else {name: value})
                    readers = narrow_readers(readers, groups)
                    self.remarks += [remark] if remark else []
        return readers

    def _content(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            if not isinstance(block, Remark):
                yield block
            elif len(self.remarks) < MOST_REMARKS and block.text not in self.remarks:
                self.remarks.append(block.text)


def sensible_title(title: str) -> str:
    """Return the title that a document's properties tell, empty where a program has written it there."""
    title = " ".join(title.split())
    return "" if _WRITTEN_BY_PROGRAMS.fullmatch(title) else title


def _top(blocks: Sequence[Block], metadata: Metadata) -> Heading | None:
    """Return the first heading if it stands above all others."""
    headings = [block for block in blocks if isinstance(block, Heading)]
    tops = [heading for heading in headings if heading.level == 1 and not heading.implied]
    return tops[0] if len(tops) == 1 and tops[0] is headings[0] else None


def _is_short(blocks: Iterable[Block]) -> bool:
    """Tell whether a document is one item: it has little text, and one page and record at most: citations tell them."""
    size = pages = records = 0
    for block in blocks:
        size += length_of(block)
        pages += isinstance(block, PageBreak)
        records += isinstance(block, Heading) and block.level == 1 and bool(block.values)
        if size > SHORT or pages > 1 or records > 1:
            return False
    return True


@define(eq=False, repr=False)
class _SectionItems:
    document: DocumentName
    title: str
    metadata: Metadata
    links: bool
    readers: tuple[str, ...] = ()
    _ids: _Ids = field(init=False)
    _front: dict[str, Any] = field(init=False)
    """What the document says of itself, for all of its items."""
    _file: dict[str, str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ids = _Ids(self.document.name)
        own = {name: getattr(self.metadata, name) for name in ("author", "date", "language")}
        values = {name: told for name, told in self.metadata.values.items() if name.lower() != READERS}
        self._front = {**values, **own}
        self._file = {"path": self.document.name}
        if self.document.modified_ns:
            changed = datetime.fromtimestamp(self.document.modified_ns / 1e9, UTC)
            self._file["modified"] = changed.isoformat(timespec="seconds")

    def whole(self, blocks: list[Block], top: Heading | None) -> Iterator[Item]:
        """Yield one item of all blocks, without the heading that is its title."""
        before = blocks[: blocks.index(top)] if top is not None else []
        values = {name: told for block in blocks if isinstance(block, Heading) for name, told in block.values.items()}
        if top is not None and not any(map(length_of, before)):
            blocks = [block for block in blocks if block is not top]
        heading = next((block for block in blocks if isinstance(block, Heading)), None)
        if not is_code(blocks):  # no title tells them here
            blocks = [evolve(block, implied=False) if isinstance(block, Heading) else block for block in blocks]
        if not any(map(length_of, blocks)):
            text = self.title or (heading.text if heading else "")
            if text and (top or heading):
                yield from self._item(Section(blocks=(), heading=top or heading), text)
            return
        pages = [block.place.page for block in blocks if block.place.page is not None]
        section = Section(
            blocks=blocks, page=min(pages, default=None), last_page=max(pages, default=None), values=values
        )
        yield from self._item(section, section.text)

    def item(self, section: Section) -> Iterator[Item]:
        """Yield the item of a section, if it says anything."""
        text = section.text
        if text.strip():
            yield from self._item(section, text)

    def _item(self, section: Section, text: str) -> Iterator[Item]:
        yield Item(
            id=self._ids.take(section),
            text=text.strip("\n"),
            title=self._title(section),
            kind=kind_of(section.blocks),
            tags=self.metadata.tags,
            source=self.document.name,
            metadata=self._item_metadata(section),
            readers=self.readers,
        )

    def _title(self, section: Section) -> str:
        top = shortened(self.title) or basename(self.document.name)
        headings = section.headings if section.headings[:1] == (top,) else (top, *section.headings)
        place = f" (page {section.label or section.page})" if section.by_page else ""
        if section.part and section.rows is not None:
            place = f" (rows {section.rows[0]} to {section.rows[1]})"
        elif section.part:
            place += f" (part {section.part})"
        return " > ".join(headings) + place

    def _item_metadata(self, section: Section) -> Mapping[str, Any]:
        told: dict[str, Any] = {
            **self._front,
            **section.values,
            **self._file,
            "headings": list(section.headings),
            "line": section.line,
            "page": section.page,
            "last_page": section.last_page if section.last_page != section.page else None,
            "page_label": section.label,
            "rows": _rows_told(section.row_spans),
            "links": list(self._targets(section)),
        }
        return {name: value for name, value in told.items() if value is not None and value not in ("", [])}

    def _targets(self, section: Section) -> tuple[str, ...]:
        if not self.links:
            return ()
        written = (link for block in section.blocks for link in getattr(block, "links", ()))
        return targets(chain(written, markdown_links(section.text, {})), self.document.name)


def _rows_told(spans: Sequence[tuple[int, int]]) -> list[Any]:
    """Return the first and last row of the one table, or of each of several."""
    return list(spans[0]) if len(spans) == 1 else [list(span) for span in spans]


class _Ids:
    """The ids of a document: the path and, after `#`, where in it; unique, and the same as long as its headings are."""

    def __init__(self, name: str) -> None:
        self._path = name.replace("#", "%23")
        self._used: set[str] = set()
        self._last: dict[str, int] = {}
        """For each anchor the number that it had last: counted on, thousands of equal headings are not counted anew."""

    def take(self, section: Section) -> str:
        """Return an id that no other section has."""
        anchor = anchored(section.heading.anchor) if section.heading is not None else ""
        anchor = anchor or (slug(section.headings[-1]) if section.headings else "")
        page = f"page-{section.page}" if section.by_page else ""
        anchor = "-".join(filter(None, (anchor, page, f"part-{section.part}" if section.part > 1 else "")))
        number, unique = self._last.get(anchor, 0), anchor
        while unique in self._used:
            number += 1
            unique = f"{anchor}-{number}" if anchor else str(number)
        self._last[anchor] = number
        self._used.add(unique)
        return f"{self._path}#{unique}" if unique else self._path
