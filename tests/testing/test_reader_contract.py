"""The suite of readers can fail: each fault fails the test that is there for it, and a sound reader passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, ClassVar

import pytest

from nexus_core import Block, Paragraph, Place, ReadHints, SourceError
from nexus_core.testing import ReaderContract


class LineReader:
    """A file of one paragraph a line."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode().strip()
            except UnicodeDecodeError as error:
                raise SourceError(f"is no UTF-8 in line {number}; left out") from error
            if text:
                yield Paragraph(text=text, place=Place(line=number))


class NoVersion(LineReader):
    version = ""


class Texts(LineReader):
    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Any]:
        yield from (line.decode("utf-8", "replace") for line in file)


class LosesLast(LineReader):
    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        blocks = list(super().read(file, hints))
        yield from blocks[:-1]


class SaysTwice(LineReader):
    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        for block in super().read(file, hints):
            yield block
            yield block


class Changes(LineReader):
    count: ClassVar[int] = 0

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        type(self).count += 1
        yield Paragraph(text=f"read {self.count}")
        yield from super().read(file, hints)


class CountsBack(LineReader):
    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        for number, block in enumerate(super().read(file, hints)):
            yield Paragraph(text=getattr(block, "text", ""), place=Place(line=100 - number))


class Lists(LineReader):
    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        return iter(list(super().read(file, hints)))


class Raises(LineReader):
    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        for line in file:
            yield Paragraph(text=line.decode().strip())


class Quadratic(LineReader):
    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        seen: list[bytes] = []
        for line in file:
            if not any(line == earlier for earlier in seen):
                seen.append(line)
            yield Paragraph(text=line.decode("utf-8", "replace").strip())


class TestLineReader(ReaderContract):
    def make(self) -> LineReader:
        return LineReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "\n".join(paragraphs).encode()


@pytest.mark.parametrize(
    ("reader", "test"),
    [
        (NoVersion, "test_it_is_a_reader"),
        (Texts, "test_blocks_are_blocks"),
        (LosesLast, "test_no_word_is_lost_or_said_twice"),
        (SaysTwice, "test_no_word_is_lost_or_said_twice"),
        (Changes, "test_reading_is_deterministic"),
        (CountsBack, "test_places_rise"),
        (Lists, "test_blocks_come_as_they_are_read"),
        (Raises, "test_damage_is_a_clear_error_or_a_remark"),
        (Quadratic, "test_time_grows_in_proportion"),
    ],
)
def test_each_fault_fails_its_test(reader: type[LineReader], test: str) -> None:
    """A reader with a fault fails the test that names it."""

    class TestFaulty(ReaderContract):
        def make(self) -> LineReader:
            return reader()

        def document(self, paragraphs: Sequence[str]) -> bytes:
            return "\n".join(paragraphs).encode()

    with pytest.raises((AssertionError, AttributeError)):
        getattr(TestFaulty(), test)()
