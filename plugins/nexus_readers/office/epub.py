"""Books (epub): their chapters in the order of the spine, each by the reader of HTML."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import unquote

from attrs import evolve, frozen

from nexus_core import Block, Heading, Metadata, Remark, SourceError
from nexus_core.toolkit import block_text
from nexus_readers.office.packages import Package, attribute, child, inner_blocks, inner_text, name_of

_FONT_ALGORITHMS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")
_NAVIGATION = "nav"


@frozen
class _Entry:
    """A file of the book."""

    name: str
    media_type: str
    properties: tuple[str, ...] = ()


def epub_blocks(package: Package, container: str) -> Iterator[Block]:
    """Yield the blocks of a book."""
    _refuse_protected(package)
    root_file = next((attribute(each, "full-path") for each in package.tree(container).iter("{*}rootfile")), "")
    if not root_file:
        raise SourceError("is damaged: it does not tell where its content is; left out")
    book = package.tree(root_file)
    yield _metadata(child(book, "metadata"))
    entries = dict(_entries(child(book, "manifest"), root_file))
    spine = child(book, "spine")
    labels = _labels(package, entries, attribute(spine, "toc") if spine is not None else "")
    read: set[str] = set()
    for each in spine if spine is not None else ():
        entry = entries.get(attribute(each, "idref"))
        if entry is None or entry.name in read or _NAVIGATION in entry.properties:
            continue
        read.add(entry.name)
        if entry.media_type in _PAGES:
            yield from _chapter(package, entry, labels.get(entry.name, ""))


def _refuse_protected(package: Package) -> None:
    root = package.optional_tree("META-INF/encryption.xml")
    for each in root.iter("{*}EncryptionMethod") if root is not None else ():
        above = each.getparent()
        if name_of(above) == "EncryptedData" and attribute(each, "Algorithm") not in _FONT_ALGORITHMS:
            raise SourceError("is a book with copy protection (DRM), which only its own program opens; left out")


def _metadata(element: Any | None) -> Metadata:
    told: dict[str, str] = {}
    authors, tags = [], []
    for each in element if element is not None else ():
        name, text = name_of(each), inner_text(each)
        told.setdefault(name, text)
        if name == "creator" and text:
            authors.append(text)
        if name == "subject" and text:
            tags.append(text)
    return Metadata(
        title=told.get("title", ""),
        author=", ".join(authors),
        date=told.get("date", ""),
        language=told.get("language", ""),
        tags=tuple(dict.fromkeys(tags)),
        values={name: told[name] for name in ("publisher", "description", "identifier") if told.get(name)},
    )


def _entries(manifest: Any | None, root_file: str) -> Iterator[tuple[str, _Entry]]:
    for each in manifest if manifest is not None else ():
        name = _resolved(root_file, attribute(each, "href"))
        properties = tuple(attribute(each, "properties").split())
        yield attribute(each, "id"), _Entry(name, attribute(each, "media-type").lower(), properties)


def _resolved(base: str, href: str) -> str:
    return normpath(join("/", dirname(base), unquote(href.partition("#")[0]))).lstrip("/")


def _labels(package: Package, entries: dict[str, _Entry], toc: str) -> dict[str, str]:
    """Return what the table of contents calls each file, for chapters without a heading."""
    found: dict[str, str] = {}
    navigation = next((entry.name for entry in entries.values() if _NAVIGATION in entry.properties), "")
    root = package.optional_tree(navigation)
    for link in root.iter("{*}a") if root is not None else ():
        if attribute(link, "href"):
            found.setdefault(_resolved(navigation, attribute(link, "href")), inner_text(link))
    contents = entries[toc].name if toc in entries else ""
    root = package.optional_tree(contents) if not found else None
    for point in root.iter("{*}navPoint") if root is not None else ():
        target = child(point, "content")
        if target is not None:
            found.setdefault(_resolved(contents, attribute(target, "src")), inner_text(child(point, "navLabel")))
    return found


def _chapter(package: Package, entry: _Entry, label: str) -> Iterator[Block]:
    """Yield the blocks of a chapter; under its name in the table of contents where it has no heading of its own."""
    if entry.name not in package:
        yield Remark(text=f"{entry.name} is missing in the book", lost=True)
        return
    begun = False
    for block in inner_blocks(package, entry.name, entry.media_type):
        if not begun and (isinstance(block, Heading) or block_text(block).strip()):
            begun = True
            if label and not isinstance(block, Heading):
                yield Heading(text=label, implied=True)
        yield evolve(block, place=evolve(block.place, line=None, last_line=None))  # of a file that nobody sees
