"""The reader suite on the readers of text formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from nexus_readers.markdown.reader import MarkdownReader
from nexus_readers.text.asciidoc import AsciiDocReader
from nexus_readers.text.latex import LatexReader
from nexus_readers.text.org import OrgReader
from nexus_readers.text.plain import LogReader, PlainReader
from nexus_readers.text.roff import ManReader
from nexus_readers.text.rst import RstReader
from nexus_readers.text.subtitles import SubtitleReader

from nexus_core.testing import ReaderContract


class _TextContract(ReaderContract):
    """Paragraphs with a blank line between."""

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "\n\n".join(paragraphs).encode()


class TestMarkdownReader(_TextContract):
    suffix: ClassVar[str] = ".md"

    def make(self) -> Any:
        return MarkdownReader()


class TestParsedMarkdown(TestMarkdownReader):
    """Quotations, which need the parser."""

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "\n\n".join(f"> {paragraph}" for paragraph in paragraphs).encode()


class TestPlainReader(_TextContract):
    suffix: ClassVar[str] = ".txt"

    def make(self) -> Any:
        return PlainReader()


class TestUtf16Reader(TestPlainReader):
    """UTF-16 without a mark."""

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "\n\n".join(paragraphs).encode("utf-16-le")


class TestLogReader(_TextContract):
    suffix: ClassVar[str] = ".log"

    def make(self) -> Any:
        return LogReader()


class TestRstReader(_TextContract):
    suffix: ClassVar[str] = ".rst"

    def make(self) -> Any:
        return RstReader()


class TestAsciiDocReader(_TextContract):
    suffix: ClassVar[str] = ".adoc"

    def make(self) -> Any:
        return AsciiDocReader()


class TestOrgReader(_TextContract):
    suffix: ClassVar[str] = ".org"

    def make(self) -> Any:
        return OrgReader()


class TestLatexReader(_TextContract):
    """With the signs escaped that mean something to TeX."""

    suffix: ClassVar[str] = ".tex"

    def make(self) -> Any:
        return LatexReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        text = "\n\n".join(paragraphs)
        for sign in "{}%&":
            text = text.replace(sign, "\\" + sign)
        return f"\\begin{{document}}{text}\\end{{document}}".encode()


class TestManReader(_TextContract):
    suffix: ClassVar[str] = ".1"

    def make(self) -> Any:
        return ManReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "".join(f".PP\n{paragraph}\n" for paragraph in paragraphs).encode()


class TestSubtitleReader(_TextContract):
    """A cue for each paragraph."""

    suffix: ClassVar[str] = ".srt"

    def make(self) -> Any:
        return SubtitleReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        times = [f"00:{number // 60 % 60:02}:{number % 60:02},000" for number in range(len(paragraphs) + 1)]
        cues = zip(times, times[1:], paragraphs, strict=False)
        return "".join(f"{begin} --> {end}\n{said}\n\n" for begin, end, said in cues).encode()
