"""The reader suite: no word lost, none twice, places that rise, growth in proportion, and any bytes survived.

class TestAcmeReader(ReaderContract):
    def make(self):
        return AcmeReader()

    def document(self, paragraphs):
        return acme_file(paragraphs)      # the bytes of a file with these paragraphs
"""

from __future__ import annotations

import gc
import json
import random
import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from time import process_time
from typing import Any, ClassVar

from nexus_core.contract.blocks import Block, Heading, Metadata, Place, Remark, Table
from nexus_core.contract.documents import Reader, ReadHints
from nexus_core.contract.errors import SourceError
from nexus_core.testing.contracts.suite import Contract
from nexus_core.toolkit.documents.block_text import block_text

PARAGRAPHS = (
    "The ferry leaves at nine and returns at noon.",
    "Où ünïcödé ⛵ 字 العربية stands, Ωmega too.",
    "Prices: 10,000 krone for 5 kg, or 2.5 per hour & day.",
    "The mill < the tower > the gate, {{ 7 * 7 }} and %s.",
)
"""What documents of the suite say: other scripts, and signs that mean something in other formats."""
_WORD = re.compile(r"\w+")
_CUTS = 40
_FLIPS = 60
_SIZE = 200
"""Paragraphs of the smallest document whose time is taken."""
_LEAST_S = 0.02
_CLEAR = 5.5
_MOST = 8.0
"""How many times as long four times the document may take; in proportion are 4, with the square 16.

Between the two a document four times as large is looked at, twice at most: what grows with the square outweighs the
rest there, and what grows in proportion does not.
"""
_TRIES = 5
_LARGEST = 200_000
"""Paragraphs of the largest document with which four times as much is compared."""
_MOST_TEXT = 1_000_000


class ReaderContract(Contract):
    """Holds a reader to the contract; a subclass defines `make` and `document`."""

    hooks = frozenset({"absent", "make", "document", "suffix"})
    capabilities: ClassVar[dict[str, str]] = {
        "texts": "paragraphs come back word for word",
        "damage": "a damaged file can be told from a whole one, or read",
    }

    suffix: ClassVar[str] = ""
    """By which the reader is chosen, such as `.acme`."""

    def make(self) -> Reader:
        """Return your reader."""
        raise AssertionError("define make(self): return your reader")

    def document(self, paragraphs: Sequence[str]) -> bytes:
        """Return the bytes of a file of your format with these paragraphs."""
        raise AssertionError("define document(self, paragraphs): return the bytes of a file that says them")

    def _blocks(self, data: bytes, **more: Any) -> Iterator[Block]:
        hints = ReadHints(name=f"document{self.suffix}", suffix=self.suffix, **more)
        return iter(self.make().read(BytesIO(data), hints))

    def test_it_is_a_reader(self) -> None:
        """It has `version`, a text, and `read(file, hints)`.

        Fix: write both; count `version` up whenever the same file gives other blocks.
        """
        reader = self.make()
        assert isinstance(reader, Reader), "a reader has `version` and `read(file, hints)`"
        assert isinstance(reader.version, str), "`version` is a text: documents are read again when it changes"
        assert reader.version, "`version` is empty"

    def test_blocks_are_blocks(self) -> None:
        """What comes are blocks, whose metadata is JSON and whose tables are rows of texts.

        Fix: yield the classes of `nexus_core`: Heading, Paragraph, ListItem, Table, Code, ...
        """
        blocks = list(self._blocks(self.document(PARAGRAPHS)))
        assert any(block_text(block) for block in blocks), "four paragraphs are there, and no block has text"
        for block in blocks:
            assert isinstance(block, Block), f"a {type(block).__name__} came among the blocks"
            if isinstance(block, Metadata | Heading):
                _check_json(block)
            if isinstance(block, Table):
                cells = [*block.header, *(cell for row in block.rows for cell in row)]
                assert all(isinstance(cell, str) and "\n" not in cell for cell in cells), "a cell is no line of text"

    def test_no_word_is_lost_or_said_twice(self) -> None:
        """The words of all paragraphs come in their order, each as often as it is there.

        Fix: decode what the format escapes, keep all scripts, and take no part of the file twice. Absent: `texts`.
        """
        self._needs("texts")
        self._check_texts()

    def _check_texts(self) -> None:
        expected = _words(" ".join(PARAGRAPHS))
        found = _words(" ".join(block_text(block) for block in self._blocks(self.document(PARAGRAPHS))))
        missing = [word for word in expected if found.count(word) < expected.count(word)]
        assert not missing, f"lost: {missing[:8]}"
        again = [word for word in expected if found.count(word) > expected.count(word)]
        assert not again, f"said more often than the file does: {again[:8]}"
        places = iter(found)
        assert all(word in places for word in expected), "the words come in another order than in the file"

    def test_reading_is_deterministic(self) -> None:
        """The same file gives the same blocks.

        Fix: take order from the file, never from sets, times or ids in memory.
        """
        data = self.document(PARAGRAPHS)
        assert list(self._blocks(data)) == list(self._blocks(data)), "read twice, the same file gave other blocks"

    def test_places_rise(self) -> None:
        """Lines, pages and rows are counted from 1 and never go back.

        Fix: count from 1; give no place rather than a wrong one.
        """
        last = {"line": 0, "page": 0}
        for block in self._blocks(self.document(PARAGRAPHS * 5)):
            for name in last:
                value = getattr(block.place, name)
                assert value is None or value >= max(1, last[name]), f"{name} {value} came after {last[name]}"
                last[name] = value or last[name]
            assert isinstance(block.place, Place), "a place is a Place"

    def test_blocks_come_as_they_are_read(self) -> None:
        """`read` gives an iterator, and leaving it early closes what it holds.

        Fix: write `read` as a generator; open what it needs in a `with`.
        """
        blocks = self._blocks(self.document(PARAGRAPHS * 50))
        next(blocks, None)
        close = getattr(blocks, "close", None)
        assert close is not None, "`read` returns no generator"
        close()

    def test_damage_is_a_clear_error_or_a_remark(self) -> None:
        """Cut off anywhere, with bytes changed, or empty: it is read as far as it goes, or SourceError says why not.

        Fix: `raise SourceError("is no Acme file (...); left out") from error`, in the place of what your library
        raises; what follows blocks that were read may raise anything. Absent: `damage`.
        """
        self._needs("damage")
        self._check_damage()

    def _check_damage(self) -> None:
        data = self.document(PARAGRAPHS * 3)
        chooser = random.Random(11)
        damaged = [b"", *(data[: len(data) * number // _CUTS] for number in range(1, _CUTS))]
        for _ in range(_FLIPS):
            place = chooser.randrange(len(data))
            damaged.append(data[:place] + bytes([chooser.randrange(256)]) + data[place + 1 :])
        for bytes_read in damaged:
            self._read_damaged(bytes_read, len(data))

    def _read_damaged(self, data: bytes, size: int) -> None:
        count = total = 0
        raised: Exception | None = None
        try:
            for block in self._blocks(data):
                count += 1
                total += len(block.text if isinstance(block, Remark) else block_text(block))
        except Exception as error:  # noqa: BLE001 - what a library raises is what is looked for
            raised = error
        if isinstance(raised, SourceError):
            assert len(str(raised).split()) >= 3, f"the error says no more than {raised!s}: say what, and what to do"
        assert raised is None or count or isinstance(raised, SourceError), (
            f"{type(raised).__name__} came out of a damaged file: raise SourceError from it"
        )
        assert total <= _MOST_TEXT + 100 * size, f"{len(data)} damaged bytes gave {total:,} characters of text"

    def test_time_grows_in_proportion(self) -> None:
        """Four times the document takes about four times as long, not sixteen: CPU time, the best of several.

        Fix: look at each part of the file once; no search from the start, no adding up of texts, no depth times width.
        """
        size = _SIZE
        while (taken := self._seconds(size)) < _LEAST_S and size < _LARGEST:
            size *= 2
        taken, longer = self._two_times(size, taken, _TRIES)
        for larger in (4 * size, 16 * size):
            if _CLEAR * taken < longer <= _MOST * taken and larger <= _LARGEST:
                taken, longer = self._two_times(larger, longer, 1)
        assert longer <= _MOST * taken, f"four times the document took {longer / taken:.1f} times as long"

    def _two_times(self, size: int, taken: float, tries: int) -> tuple[float, float]:
        """Return the seconds for a document and for four times as much: the least of some tries, until all is clear."""
        longer = self._seconds(4 * size)
        for _ in range(tries):
            if longer <= _CLEAR * taken:
                break
            longer, taken = min(longer, self._seconds(4 * size)), min(taken, self._seconds(size))
        return taken, longer

    def _seconds(self, count: int) -> float:
        data = self.document([f"{PARAGRAPHS[n % 4]} Line {n} of many." for n in range(count)])
        gc.collect()
        began = process_time()
        for _ in self._blocks(data, max_bytes=1 << 30):
            continue
        return process_time() - began


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _check_json(block: Metadata | Heading) -> None:
    try:
        json.dumps(dict(block.values), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the values of a {type(block).__name__} are no JSON: {error}") from error
