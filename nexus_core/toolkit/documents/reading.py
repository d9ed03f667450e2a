"""From a file to its blocks and items: what sources, uploads and commands call, in a reader process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from itertools import chain, islice
from typing import Any, BinaryIO

from attrs import define, evolve, field, frozen

from nexus_core.contract.blocks import Block, Heading, Metadata, PageBreak, Remark
from nexus_core.contract.documents import ReadHints
from nexus_core.contract.errors import NexusError, PluginError, SourceError, describe_error
from nexus_core.contract.values import Item
from nexus_core.toolkit.documents.block_text import length_of
from nexus_core.toolkit.documents.charsets import NotReadError
from nexus_core.toolkit.documents.compressed import SUFFIXES, inner_name, is_compressed, unpack
from nexus_core.toolkit.documents.items import DocumentName, ItemMaker
from nexus_core.toolkit.documents.registry import ReaderChoice, ReaderRegistry

DEEPEST_INNER = 5
"""Files in files: a mail in a mail in an archive, and so on."""
MOST_INNER = 2_000
_MOST_TEXT = 100
"""How many times as long as the file its text may be: thousands of pages may show one and the same stream."""
_LITTLE_TEXT = 1_000_000
_HEAD = 1024


@frozen(kw_only=True, repr=False)
class ReadSettings:
    """How files are read."""

    encoding: str = "utf-8"
    """Of text that tells nothing of its encoding."""
    max_bytes: int = 20_000_000
    sections: bool = True
    links: bool = False
    """Items tell in their metadata where they link to."""
    readers: Mapping[str, ReaderChoice] = field(factory=dict)
    """By suffix or media type, whose reader is to be used, and its options."""


@frozen(kw_only=True, repr=False)
class FileOrigin:
    """What is known of a file beside its bytes."""

    name: str
    """As people see it."""
    modified_ns: int = 0
    """When it was changed, since 1970; 0 where nothing tells."""
    media_type: str = ""
    encoding: str = ""
    suffix: str = ""
    """In the place of that of its name."""


@define(eq=False, repr=False)
class DocumentReader:
    """Reads files by the readers that are installed and chosen."""

    settings: ReadSettings = ReadSettings()
    _registry: ReaderRegistry = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._registry = ReaderRegistry.installed(self.settings.readers)

    def __reduce__(self) -> tuple[type, tuple[ReadSettings]]:
        return type(self), (self.settings,)  # what was imported stays here

    def is_light(self, name: str) -> bool:
        """Tell whether a file is read by what takes time in proportion to its size, and neither crashes nor loops.

        Such files may be read outside of a reader process. Readers of other distributions are never taken for that.
        """
        may_unpack = name.lower().endswith(SUFFIXES)  # a small file may unpack to a large one
        return not may_unpack and self._registry.is_light(self._registry.format_of(name))

    def reader_of(self, origin: FileOrigin) -> str:
        """Return what a file is read by, with its version; empty where it cannot be."""
        try:
            return self._registry.reader(self._format_of(origin)).name
        except PluginError:
            return ""

    def reader_told(self, origin: FileOrigin) -> str:
        """Return the same, and import another distribution's reader in a process of its own alone.

        Raises SourceError where that process hangs or ends: then no file of this format can be read.
        """
        format = self._format_of(origin)
        return self.reader_of(origin) if self._registry.is_own(format) else self._registry.name_apart(format)

    def streams(self, name: str) -> bool:
        """Tell whether a file is read record by record from the disk, so that its size does not matter."""
        return self._registry.streams(self._registry.format_of(name))

    def blocks(self, file: BinaryIO, origin: FileOrigin) -> tuple[str, Iterator[Block]]:
        """Return the name of the reader of a file, and its blocks as they are read; raises SourceError."""
        return self._blocks(file, origin, _Inside(self))

    def items(self, file: BinaryIO, origin: FileOrigin) -> DocumentItems:
        """Return the items of a file, to be taken one by one; raises SourceError where there are none to be had."""
        name, blocks = self.blocks(file, origin)
        document = DocumentName(name=origin.name, modified_ns=origin.modified_ns)
        maker = ItemMaker(document=document, sections=self.settings.sections, links=self.settings.links)
        return DocumentItems(name, maker.items(blocks), maker.remarks)

    def _format_of(self, origin: FileOrigin, head: bytes = b"") -> str:
        name = f"x{origin.suffix}" if origin.suffix else origin.name
        if name.lower().endswith(SUFFIXES) and not self._reads_compressed(name):
            name = inner_name(name)
        return self._registry.format_of(name, origin.media_type, head)

    def _reads_compressed(self, name: str) -> bool:
        """Tell whether a reader is there for the suffix of compressed files itself."""
        return name[name.rindex(".") :].lower() in self._registry.formats

    def _unpacked(self, file: BinaryIO, origin: FileOrigin, inside: _Inside) -> tuple[str, Iterator[Block]]:
        """Return the blocks of a compressed file, read as what it is without that."""
        unpacked = unpack(file.read(), self.settings.max_bytes)
        inside.counted[1] += len(unpacked.data)
        origin = evolve(origin, name=inner_name(origin.name), media_type="")
        name, blocks = self._blocks(BytesIO(unpacked.data), origin, inside)
        why = "was read in part only: it is damaged, and what follows cannot be unpacked"
        return name, blocks if unpacked.is_whole else chain(blocks, [Remark(text=why, lost=True)])

    def _blocks(self, file: BinaryIO, origin: FileOrigin, inside: _Inside) -> tuple[str, Iterator[Block]]:
        head = file.read(_HEAD)
        file.seek(0)
        if is_compressed(head) and origin.name.lower().endswith(SUFFIXES) and not self._reads_compressed(origin.name):
            return self._unpacked(file, origin, inside)
        format = self._format_of(origin, head)
        chosen = self._registry.reader(format)
        hints = ReadHints(
            name=origin.name,
            suffix=format,
            encoding=origin.encoding,
            default_encoding=self.settings.encoding,
            max_bytes=self.settings.max_bytes,
            read_inner=inside.read,
        )
        blocks = chosen.reader.read(file, hints)
        if chosen.streams:
            blocks = inside.per_record(blocks)
        if head:
            return chosen.name, _start(_guarded(blocks, _size_of(file)))
        try:
            return chosen.name, iter([*_guarded(blocks, 0)])
        except SourceError as error:  # whatever a format asks for, there is nothing
            raise NotReadError("is empty; left out") from error


@define(eq=False, repr=False)
class DocumentItems:
    """The items of a document: taken as they are made."""

    reader: str
    """What read it, with its version."""
    items: Iterator[Item]
    remarks: list[str]
    """What was read with doubt or is missing; complete once all items are taken."""


@define(eq=False, repr=False)
class _Inside:
    """Reads the files inside of one file, none too deep and not too many."""

    owner: DocumentReader
    depth: int = 0
    counted: list[int] = field(factory=lambda: [0, 0])
    """How many files, and bytes of them, shared by all depths."""

    def per_record(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield the blocks of what is read record by record: the limits hold for each, not for all together."""
        for block in blocks:
            if self.depth == 0 and isinstance(block, Heading) and block.level == 1:
                self.counted[:] = 0, 0
            yield block

    def read(self, name: str, data: bytes, media_type: str = "", level: int = 1) -> Iterator[Block]:
        """Yield a heading of this level with the name of a file, and its blocks; remarks where there are none."""
        self.counted[0] += 1
        self.counted[1] += len(data)
        if self.depth >= DEEPEST_INNER or self.counted[0] > MOST_INNER:
            yield Remark(text=f"{name} is left out: there are too many files inside of each other", lost=True)
            return
        if self.counted[1] > self.owner.settings.max_bytes:
            yield Remark(
                text=f"{name} is left out: more than {self.owner.settings.max_bytes:,} bytes inside", lost=True
            )
            return
        inside = _Inside(self.owner, self.depth + 1, self.counted)
        try:
            _, blocks = self.owner._blocks(BytesIO(data), FileOrigin(name=name, media_type=media_type), inside)
            yield Heading(text=name, level=level, implied=True)
            yield from _below(blocks, level, name)
        except NexusError as error:
            yield Remark(text=f"{name}: {error}", lost=True)


def _below(blocks: Iterable[Block], level: int, name: str) -> Iterator[Block]:
    """Yield the blocks of a file inside another one: its headings deeper, its remarks with its name."""
    for block in blocks:
        if isinstance(block, Heading):
            yield evolve(block, level=block.level + level)
        elif isinstance(block, Remark):
            yield evolve(block, text=f"{name}: {block.text}")
        elif not isinstance(block, Metadata | PageBreak):
            yield block


def _start(blocks: Iterator[Block]) -> Iterator[Block]:
    """Return the blocks, the first of them read: what cannot be read at all is told before anything is done with it."""
    first = next(blocks, None)
    return iter(()) if first is None else chain([first], blocks)


def _guarded(blocks: Iterator[Block], size: int) -> Iterator[Block]:
    """Yield the blocks of a reader; whatever it raises is a SourceError, and so is far more text than the file has."""
    most, total = _LITTLE_TEXT + _MOST_TEXT * size, 0
    try:
        for block in blocks:
            if not isinstance(block, Block):
                raise TypeError(f"its reader yields values of the class {type(block).__name__}, which are no blocks")
            total += length_of(block)
            if total > most:
                raise SourceError(f"has more than {most:,} characters of text, far more than its size; left out")
            yield block
    except SourceError:
        raise
    except Exception as error:  # a damaged file makes libraries raise almost anything
        if not total:
            raise SourceError(f"cannot be read ({describe_error(error)}); left out") from error
        yield Remark(text=f"was read in part only: what follows cannot be read ({describe_error(error)})", lost=True)


def _size_of(file: BinaryIO) -> int:
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    return size


def require_extra(module: str, extra: str, what: str) -> Any:
    """Return a module that reads a format; raises NotReadError with the pip command where its extra is not installed.

    `require_extra("docx", "documents", "Word files")`.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != package:
            raise
        raise NotReadError(f"{what} are read with an extra: pip install 'contextnexus[{extra}]'") from error


def version_with(version: str, **extras: str) -> str:
    """Return the version of a reader with the extras that it misses, each named with a module of it.

    `version_with("1", ocr="rapidocr")` is `1 without ocr` until that is installed: then documents are read again.
    """
    missing = [extra for extra, module in extras.items() if find_spec(module) is None]
    return f"{version} without {', '.join(missing)}" if missing else version


_TOGETHER = 200


def stream_blocks(path: str, settings: ReadSettings, origin: FileOrigin) -> Iterator[tuple[str, list[Block]]]:
    """Yield the name of a file's reader and some blocks at a time, for `stream_apart`; raises SourceError."""
    with open(path, "rb") as file:
        name, blocks = DocumentReader(settings).blocks(file, origin)
        while some := list(islice(blocks, _TOGETHER)):
            yield name, some
        yield name, []
