"""From a file to its items: picks the reader by the suffix, and makes one item of each section of a long document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import chain
from posixpath import basename, splitext
from typing import overload

from attrs import evolve, frozen

from nexus_core import Item, SourceError
from nexus_sources.readers import code, html, markdown, pdf
from nexus_sources.readers.decoding import decode
from nexus_sources.readers.links import definitions, markdown_links, targets
from nexus_sources.readers.sections import (
    ReadResult,
    ReadSettings,
    Section,
    anchored,
    block_starts,
    cut,
    shortened,
    slug,
)
from nexus_sources.walking.walk import FoundFile

SHORT = 1200
"""Characters up to which a document stays one item: some 250 tokens."""
LONG = 6000
"""Characters beyond which a section is cut into parts."""
PART = 4000

MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mkd", ".mdx"})
HTML = frozenset({".html", ".htm", ".xhtml"})
PDF = frozenset({".pdf"})
APART = HTML | PDF
"""Formats of foreign programs: always read in another process, however small."""
CODE = frozenset({
    ".bash", ".bat", ".c", ".cc", ".cfg", ".cjs", ".clj", ".cmake", ".conf", ".cpp", ".cs", ".css", ".csv", ".cxx",
    ".dart", ".erl", ".ex", ".exs", ".fish", ".fs", ".go", ".gradle", ".graphql", ".groovy", ".h", ".hh", ".hpp",
    ".hs", ".ini", ".ipynb", ".java", ".jl", ".js", ".json", ".jsonl", ".jsx", ".kt", ".kts", ".less", ".lua", ".m",
    ".mjs", ".ml", ".mm", ".nim", ".php", ".pl", ".pm", ".proto", ".ps1", ".py", ".pyi", ".r", ".rb", ".rs", ".scala",
    ".scss", ".sh", ".sql", ".svelte", ".swift", ".tf", ".toml", ".ts", ".tsv", ".tsx", ".vue", ".xml", ".yaml",
    ".yml", ".zig", ".zsh",
})  # fmt: skip
CODE_NAMES = frozenset({"Makefile", "Dockerfile", "Jenkinsfile", "Rakefile", "Gemfile", "CMakeLists.txt"})


@frozen(kw_only=True, repr=False)
class Loaded:
    """What came of a file."""

    items: tuple[Item, ...] = ()
    problem: str = ""
    """Without the name of the file."""
    fingerprint: bytes = b""
    """Of its bytes."""


@overload
def load(found: FoundFile, settings: ReadSettings) -> Loaded: ...
@overload
def load(found: FoundFile, settings: ReadSettings, known: bytes) -> Loaded | None: ...
def load(found: FoundFile, settings: ReadSettings, known: bytes = b"") -> Loaded | None:
    """Return the items of a file, and what is wrong with it; `None` where its bytes have the known fingerprint."""
    size = found.stamp[2]
    if size > settings.max_bytes:
        return Loaded(problem=f"is {size:,} bytes long, more than max_bytes: {settings.max_bytes}; left out")
    try:
        with open(found.path, "rb") as file:
            data = file.read(settings.max_bytes + 1)
    except OSError as error:
        return Loaded(problem=f"cannot be read ({error.strerror or error}); left out")
    fingerprint = blake2b(data, digest_size=16).digest()
    if fingerprint == known:
        return None
    try:
        items, problem = parsed(data, found, settings)
    except SourceError as error:
        return Loaded(problem=str(error), fingerprint=fingerprint)
    except Exception as error:  # noqa: BLE001 - one file that a reader chokes on does not stop the others
        return Loaded(problem=f"cannot be read ({type(error).__name__}: {error}); left out", fingerprint=fingerprint)
    return Loaded(items=items, problem=problem, fingerprint=fingerprint)


def parsed(data: bytes, found: FoundFile, settings: ReadSettings, suffix: str = "") -> tuple[tuple[Item, ...], str]:
    """Return the items of a file's bytes, and what was doubtful; raises SourceError where it cannot be read.

    The suffix says what it is read as; by default that of its name does.
    """
    document, problem = _document(data, found.name, settings, suffix or splitext(found.name)[1].lower())
    return tuple(_items(document, found, settings)), problem


def _document(data: bytes, name: str, settings: ReadSettings, suffix: str) -> tuple[ReadResult, str]:
    if suffix in PDF:
        return pdf.read(data), ""
    decoded = decode(data, settings.encoding)
    if suffix in MARKDOWN:
        document = markdown.read(decoded.text)
    elif suffix in HTML:
        document = html.read(decoded.text)
    elif suffix in CODE or basename(name) in CODE_NAMES:
        document = evolve(code.read(decoded.text, suffix), title=name)
    else:
        document = code.read_plain(decoded.text)
    return document, decoded.problem


def _items(document: ReadResult, found: FoundFile, settings: ReadSettings) -> Iterator[Item]:
    """Yield an item for each section, or one for the whole where it is short."""
    ids = _Ids(found.name)
    links = _links(document, found.name) if settings.links and document.kind == "markdown" else None
    for section, part in _pieces(document, settings):
        leads = links(section) if links else ()
        metadata = {
            **document.metadata,
            "path": found.name,
            "modified": datetime.fromtimestamp(found.stamp[0] / 1e9, UTC).isoformat(timespec="seconds"),
            **({"headings": list(section.headings)} if section.headings else {}),
            **({"line": section.line} if section.line is not None else {}),
            **({"page": section.page} if section.page is not None else {}),
            **({"links": list(leads)} if leads else {}),
        }
        yield Item(
            id=ids.take(section, part),
            text=section.text,
            title=_title(document, section, found.name, part),
            kind=document.kind,
            tags=document.tags,
            source=found.name,
            metadata=metadata,
        )


def _links(document: ReadResult, name: str) -> Callable[[Section], tuple[str, ...]]:
    """Return what tells where a section leads to."""
    if any(section.links for section in document.sections):
        # The parts of a section share its links, which are looked at once.
        known: dict[int, tuple[str, ...]] = {}

        def of_page(section: Section) -> tuple[str, ...]:
            place = id(section.links)
            if place not in known:
                known[place] = targets(section.links, name)
            return known[place]

        return of_page
    defined = definitions(document.text)
    return lambda section: targets(markdown_links(section.text, defined), name)


def _pieces(document: ReadResult, settings: ReadSettings) -> Iterator[tuple[Section, int]]:
    """Yield the sections with the number of the part, 0 where a section is in one piece."""
    sections = document.sections
    if not settings.sections or len(document.text) <= SHORT or not sections:
        first = sections[0] if sections else Section(text="")
        line = first.line if len(sections) == 1 else first.line and 1
        links = tuple(chain.from_iterable(section.links for section in sections))
        sections = (Section(text=document.text or document.title, line=line, links=links),)
    for section in sections:
        if not section.text.strip():
            continue
        if settings.sections and len(section.text) > LONG:
            yield from _parts(section)
        else:
            yield section, 0


def _parts(section: Section) -> Iterator[tuple[Section, int]]:
    lines = section.text.split("\n")
    spans = cut(lines, block_starts(lines), PART)
    for number, (first, last) in enumerate(spans, 1):
        text = "\n".join(lines[first:last]).strip("\n")
        line = section.line if number == 1 or section.line is None else section.line + first
        if text:
            yield evolve(section, text=text, line=line), number if len(spans) > 1 else 0


def _title(document: ReadResult, section: Section, name: str, part: int) -> str:
    top = shortened(document.title) or basename(name)
    headings = section.headings if section.headings[:1] == (top,) else (top, *section.headings)
    page = f" (page {section.page})" if section.page is not None and not section.headings else ""
    return " > ".join(headings) + page + (f" (part {part})" if part else "")


class _Ids:
    """The ids of a document: the path and, after `#`, where in it; unique, and the same as long as its headings are."""

    def __init__(self, name: str) -> None:
        self._path = name.replace("#", "%23")
        self._used: set[str] = set()
        self._last: dict[str, int] = {}
        """For each anchor the number that it had last: counted on, thousands of equal headings are not counted anew."""

    def take(self, section: Section, part: int) -> str:
        """Return an id that no other section has."""
        anchor = anchored(section.anchor) or (slug(section.headings[-1]) if section.headings else "")
        anchor = "-".join(filter(None, (anchor, f"part-{part}" if part > 1 else "")))
        number, unique = self._last.get(anchor, 0), anchor
        while unique in self._used:
            number += 1
            unique = f"{anchor}-{number}" if anchor else str(number)
        self._last[anchor] = number
        self._used.add(unique)
        return f"{self._path}#{unique}" if unique else self._path
