"""The reader of office files: which kind a file is, its bytes tell, whatever its name says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from nexus_core import Block, Metadata, ReadHints, Remark, SourceError, component, option
from nexus_core.toolkit import block_text
from nexus_readers.office.epub import epub_blocks
from nexus_readers.office.kinds import office_kind
from nexus_readers.office.old_office import binary_sheets, old_blocks
from nexus_readers.office.open_document.documents import odf_blocks
from nexus_readers.office.packages import Package, TooLargeError
from nexus_readers.office.pptx import pptx_blocks
from nexus_readers.office.sheets.ods import ods_blocks
from nexus_readers.office.sheets.xlsx import xlsx_blocks
from nexus_readers.office.word.docx import docx_blocks

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@component
class OfficeReader:
    """Reads files of Word, PowerPoint, Excel, OpenDocument and EPUB into blocks; says why others are left out."""

    version = "1"
    hidden: bool = option(False, help="Read hidden slides, sheets, rows and columns, too.")

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks of an office file."""
        head = file.read(len(_ZIP[0]))
        file.seek(0)
        if head not in _ZIP:
            yield from old_blocks(file, hints, hidden=self.hidden)
            return
        package = Package(file, hints)
        yield from _with_remarks(package, self._blocks(package))

    def _blocks(self, package: Package) -> Iterator[Block]:
        kind, main = office_kind(package)
        if kind == "xlsb":
            package.check_size()
        hidden = self.hidden
        read: dict[str, Callable[[], Iterator[Block]]] = {
            "docx": lambda: docx_blocks(package, main),
            "pptx": lambda: pptx_blocks(package, main, hidden=hidden),
            "xlsx": lambda: xlsx_blocks(package, main, hidden=hidden),
            "xlsb": lambda: binary_sheets(package.file, package.hints, hidden=hidden),
            "ods": lambda: ods_blocks(package, hidden=hidden),
            "odf": lambda: odf_blocks(package, hidden=hidden),
            "epub": lambda: epub_blocks(package, main),
        }
        return read[kind]()


def _with_remarks(package: Package, blocks: Iterator[Block]) -> Iterator[Block]:
    """Yield blocks, then what could not be read; a file beyond its bound is read as far as the bound goes."""
    has_text = False
    try:
        for block in blocks:
            has_text = has_text or (not isinstance(block, Metadata | Remark) and bool(block_text(block)))
            yield block
    except TooLargeError as error:
        if not has_text:
            raise
        yield Remark(text=str(error), lost=True)
    except SourceError as error:
        if not has_text:
            raise
        yield Remark(text=f"was read in part only: what follows {error}", lost=True)
    if not has_text and package.remarks:
        raise SourceError(f"{package.remarks[0].text}; left out")
    yield from package.remarks
