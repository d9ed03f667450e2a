"""Packages: the zip file that an office document is, and its parts as XML, within a bound of unpacked bytes.

Elements are told by their local names: the strict and the transitional form of Office Open XML, and the versions of
OpenDocument, differ in their namespaces only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from mimetypes import guess_type
from posixpath import dirname, join, normpath
from typing import Any, BinaryIO
from urllib.parse import unquote
from zipfile import BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError

from attrs import frozen

from nexus_core import Block, Heading, Metadata, ReadHints, Remark, SourceError
from nexus_core.toolkit import require_extra

WHAT = "office files"
_MEDIA_TYPES = {".mht": "message/rfc822", ".mhtml": "message/rfc822", ".xhtml": "text/html", ".htm": "text/html"}
"""What the table of the machine may not know, or calls by another name."""
_CHUNK = 65_536
_LONGEST_MATCH = 2_000
_SAFELY = {
    "resolve_entities": False, "no_network": True, "huge_tree": False, "remove_comments": True, "remove_pis": True,
    "recover": True,
}  # fmt: skip
"""How XML is parsed: no entities, no network, elements at most 256 deep, damaged parts as far as they go."""


class TooLargeError(SourceError):
    """A file unpacks to more bytes than may be read."""


@frozen
class Relation:
    """From one part of a package to another, or to the world."""

    kind: str
    """The last word of its type: `hyperlink`, `footnotes`."""
    target: str
    """The name of a part, or an address."""
    is_external: bool


class Package:
    """The parts of one file; all that is read of them counts against the bound."""

    def __init__(self, file: BinaryIO, hints: ReadHints) -> None:
        self.file = file
        self.hints = hints
        self.remarks: list[Remark] = []
        """What could not be read beside the content proper."""
        self._left = hints.max_bytes
        self._relations: dict[str, dict[str, Relation]] = {}
        try:
            self._zip = ZipFile(file)
        except (BadZipFile, NotImplementedError, ValueError) as error:
            raise SourceError(f"is damaged: no zip file, as office files are ({error}); left out") from error
        self._etree = require_extra("lxml.etree", "documents", WHAT)
        self._parts: dict[str, ZipInfo] = {}
        for info in self._zip.infolist():
            self._parts.setdefault(info.filename.replace("\\", "/").lstrip("/").lower(), info)
        if any(info.flag_bits & 1 for info in self._parts.values()):
            raise SourceError("needs a password; left out: save it without one")

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._parts

    def names(self) -> list[str]:
        """Return the names of all parts, in lower case."""
        return list(self._parts)

    def check_size(self) -> None:
        """Raise TooLargeError where all parts together unpack to more than may be read: for what reads them itself."""
        self._count(sum(info.file_size for info in self._parts.values()))

    def read(self, name: str) -> bytes:
        """Return a whole part; raises SourceError where it is missing, damaged or too large."""
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a part."""
        stream = _Stream(self, name)
        while chunk := stream.read(_CHUNK):
            yield chunk

    def find_all(self, name: str, pattern: re.Pattern[bytes]) -> Iterator[bytes]:
        """Yield what matches a pattern in the bytes of a part; no match may be longer than 2,000 bytes.

        They do not count against the bound, since the part is read a second time by whoever looks into it first.
        """
        stream = _Stream(self, name, counted=False)
        left, kept = self.hints.max_bytes, b""
        while left > 0 and (chunk := stream.read(_CHUNK)):
            left -= len(chunk)
            kept += chunk
            end = 0
            for match in pattern.finditer(kept):
                if match.end() <= len(kept) - _LONGEST_MATCH:
                    yield match[0]
                    end = match.end()
            kept = kept[max(end, len(kept) - _LONGEST_MATCH) :]
        yield from (match[0] for match in pattern.finditer(kept))

    def elements(self, name: str, *tags: str) -> Iterator[Any]:
        """Yield the elements with these local names as they end; whoever takes one clears it with `let_go`.

        A part that is damaged or too large is read as far as it goes, and remarked; raises SourceError where that is
        nowhere.
        """
        found = self._etree.iterparse(
            _Stream(self, name), events=("end",), tag=[f"{{*}}{tag}" for tag in tags] or None, load_dtd=False, **_SAFELY
        )
        count = 0
        try:
            for _, element in found:
                if not count:
                    _refuse_entities(element)
                count += 1
                yield element
        except SourceError as error:
            if not count:
                raise
            self.remarks.append(Remark(text=f"was read in part only: it {error}", lost=True))
            return
        self._tell_damage(name, found.error_log, has_content=count > 0)

    def tree(self, name: str) -> Any:
        """Return the root of a part; raises SourceError where it is missing, too large, or nothing of it is XML."""
        parser = self._etree.XMLParser(load_dtd=False, **_SAFELY)
        try:
            root = self._etree.fromstring(self.read(name), parser)
        except self._etree.XMLSyntaxError as error:
            raise SourceError(f"is damaged: {name} is no XML ({error}); left out") from error
        self._tell_damage(name, parser.error_log, has_content=root is not None)
        _refuse_entities(root)
        return root

    def _tell_damage(self, name: str, log: Any, *, has_content: bool) -> None:
        """Remark what the parser could not read; raises SourceError where there is nothing else."""
        fatal = next((entry for entry in log if entry.level_name == "FATAL"), None)
        if fatal is not None and not has_content:
            raise SourceError(f"is damaged: {name} is no XML ({fatal.message}); left out")
        if fatal is not None:
            self.remarks.append(
                Remark(text=f"was read in part only: {name} is damaged (line {fatal.line}: {fatal.message})", lost=True)
            )

    def optional_tree(self, name: str) -> Any | None:
        """Return the root of a part, None where there is none; that it is damaged is remarked."""
        if not name or name not in self:
            return None
        try:
            return self.tree(name)
        except TooLargeError:
            raise
        except SourceError as error:
            self.remarks.append(Remark(text=f"{name} is missing from the text: {error}", lost=True))
            return None

    def relations(self, name: str = "") -> dict[str, Relation]:
        """Return what a part is related to, by the names that it has for them; of the whole file without a part."""
        if name in self._relations:
            return self._relations[name]
        folder, base = dirname(name), name.rpartition("/")[2]
        root = self.optional_tree(join(folder, "_rels", f"{base}.rels"))
        found = self._relations[name] = {}
        for each in root if root is not None else ():
            target, external = each.get("Target", ""), each.get("TargetMode", "") == "External"
            if not external:
                target = normpath(join("/", folder, unquote(target))).lstrip("/")
            kind = each.get("Type", "").rpartition("/")[2]
            found[each.get("Id", "")] = Relation(kind, target, external)
        return found

    def _open(self, name: str) -> Any:
        info = self._parts.get(name.lower())
        if info is None:
            raise SourceError(f"is damaged: {name} is missing in it; left out")
        try:
            return self._zip.open(info)
        except (BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
            raise SourceError(f"is damaged: {name} cannot be unpacked ({error}); left out") from error

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooLargeError(
                f"unpacks to more than {self.hints.max_bytes:,} bytes; what is beyond is left out: raise `max_bytes`"
            )


class _Stream:
    """A part, unpacked as it is read."""

    def __init__(self, package: Package, name: str, *, counted: bool = True) -> None:
        self._package = package
        self._counted = counted
        self._name = name
        self._inner = package._open(name)

    def read(self, size: int = _CHUNK) -> bytes:
        try:
            data: bytes = self._inner.read(size if size and size > 0 else _CHUNK)
        except (BadZipFile, ZlibError, EOFError, OSError) as error:
            raise SourceError(f"is damaged: {self._name} cannot be unpacked ({error}); left out") from error
        self._package._count(len(data) * self._counted)
        return data


def _refuse_entities(element: Any) -> None:
    """Raise SourceError where XML declares entities: no office program writes any, and they multiply."""
    declared = element.getroottree().docinfo.internalDTD
    if declared is not None and next(iter(declared.iterentities()), None) is not None:
        raise SourceError("declares XML entities, which is not safe to read; left out")


def let_go(element: Any) -> None:
    """Free an element that was taken, and what stands before it."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def name_of(element: Any) -> str:
    """Return the local name of an element; empty for what is none, such as a reference to an entity."""
    tag = element.tag
    return tag[tag.find("}") + 1 :] if isinstance(tag, str) else ""


def attribute(element: Any, name: str, default: str = "") -> str:
    """Return the value of an attribute by its local name."""
    for key, value in element.items():
        if key == name or key.endswith("}" + name):
            return str(value)
    return default


def child(element: Any | None, *path: str) -> Any | None:
    """Return the first child with a local name, or what a path of such names leads to."""
    for name in path:
        if element is None:
            return None
        element = next((inner for inner in element if name_of(inner) == name), None)
    return element


def inner_text(element: Any | None) -> str:
    """Return all text inside of an element on one line."""
    return "" if element is None else " ".join("".join(element.itertext()).split())


def core_metadata(package: Package, language: str = "") -> Metadata:
    """Return what the properties of an Office Open XML file say."""
    parts = [relation.target for relation in package.relations().values() if relation.kind == "core-properties"]
    root = package.optional_tree(parts[0] if parts else "docProps/core.xml")
    told = {name_of(each): inner_text(each) for each in root} if root is not None else {}
    tags = told.get("keywords", "").replace(";", ",").split(",")
    return Metadata(
        title=told.get("title", ""),
        author=told.get("creator", ""),
        date=told.get("modified", "") or told.get("created", ""),
        language=told.get("language", "") or language,
        tags=tuple(dict.fromkeys(filter(None, map(str.strip, tags)))),
        values={name: told[name] for name in ("created", "subject", "description", "category") if told.get(name)},
    )


def media_type_of_part(name: str) -> str:
    """Return the media type by the suffix of a part."""
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    return _MEDIA_TYPES.get(suffix) or guess_type(f"x{suffix}")[0] or ""


def inner_blocks(package: Package, name: str, media_type: str = "", level: int = 0) -> Iterator[Block]:
    """Yield the blocks of a part as its reader makes them, without a heading that names the part.

    `level` is that of the headings above it; 0 keeps the levels of its own headings.
    """
    data = package.read(name)
    found = package.hints.read_inner(name, data, media_type or media_type_of_part(name), level)
    for number, block in enumerate(found):
        if not (number == 0 and isinstance(block, Heading) and block.implied and block.text == name):
            yield block
