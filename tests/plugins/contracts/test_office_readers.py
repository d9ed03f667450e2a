"""The readers of office files against the reader suite of `nexus_core.testing`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pytest
from nexus_readers.office.reader import OfficeReader

from nexus_core import Reader
from nexus_core.testing import ReaderContract
from tests.plugins.readers.office.office_files import docx, open_document, xlsx

pytestmark = pytest.mark.slow


class _OfficeContract(ReaderContract):
    def make(self) -> Reader:
        return OfficeReader()


class TestWord(_OfficeContract):
    """Word files."""

    suffix = ".docx"

    def document(self, paragraphs: Sequence[str]) -> bytes:
        """Return a document with these paragraphs."""
        return docx("".join(f"<w:p><w:r><w:t>{escape(each)}</w:t></w:r></w:p>" for each in paragraphs))


class TestOpenText(_OfficeContract):
    """OpenDocument texts."""

    suffix = ".odt"

    def document(self, paragraphs: Sequence[str]) -> bytes:
        """Return a document with these paragraphs."""
        return open_document("".join(f"<text:p>{escape(each)}</text:p>" for each in paragraphs))


class TestSheet(_OfficeContract):
    """Workbooks, a paragraph a row."""

    suffix = ".xlsx"

    def document(self, paragraphs: Sequence[str]) -> bytes:
        """Return a sheet with these paragraphs."""
        cells = (f'<c t="inlineStr"><is><t>{escape(each)}</t></is></c>' for each in paragraphs)
        return xlsx("".join(f'<row r="{number}">{cell}</row>' for number, cell in enumerate(cells, 1)))


class TestRtf(_OfficeContract):
    """RTF, all that is not ASCII by its numbers."""

    suffix = ".rtf"

    def document(self, paragraphs: Sequence[str]) -> bytes:
        """Return a file with these paragraphs."""
        return b"{\\rtf1 " + b"".join(_line(each) for each in paragraphs) + b"}"


def _line(text: str) -> bytes:
    escaped = text.replace("\\", "\\\\").replace("{", "\\{").replace("}", "\\}")
    units = escaped.encode("utf-16-le")
    codes = [units[at] + 256 * units[at + 1] for at in range(0, len(units), 2)]
    return "".join(chr(code) if code < 128 else f"\\u{code}?" for code in codes).encode() + b"\\par "
