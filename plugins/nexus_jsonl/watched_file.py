"""The items of a JSONL file: read once, and again when the file has changed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import aclosing

from attrs import define, field

from nexus_core import Item, SourceError
from nexus_core.toolkit import ApartError, ApartStartError, WatchedFile, did_you_mean, stream_apart
from nexus_jsonl.records import Fields, FileRecords, read, read_batches

LITTLE = 500_000
"""Bytes that are read without leaving the event loop; more is read in another process."""
READ_S = 120.0

_TOLD_AT_MOST = 5

logger = logging.getLogger("nexus_jsonl")


@define(eq=False)
class WatchedJsonl:
    """One file and what was read of it."""

    path: str
    shown: str
    """The path as the user wrote it."""
    fields: Fields
    fail: bool
    """A line that is no item is an error."""
    read_s: float = READ_S
    """The time that another process may take from some items to the next."""
    _file: WatchedFile[FileRecords] = field(init=False)
    _last: FileRecords | None = None
    """As the file gave it."""
    _reading: FileRecords = FileRecords()

    @_file.default
    def _watch(self) -> WatchedFile[FileRecords]:
        return WatchedFile(self.path, self._read, self._read_apart, LITTLE)

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong, one text each."""
        return self._reading.bad + self._reading.left_out

    async def items(self) -> tuple[Item, ...]:
        """Return the items: the same tuple while the file has not changed; raises SourceError where it cannot."""
        try:
            reading = await self._file.value()
        except OSError as error:
            raise SourceError(self._absent(error)) from error
        if reading is not self._last:
            self._take_changes(reading)
        return self._outcome()

    def _read(self) -> FileRecords:
        try:
            with open(self.path, "rb") as file:
                return read(file, self.shown, self.fields)
        except OSError as error:
            raise self._unreadable(error) from error

    async def _read_apart(self) -> FileRecords:
        # For those who have much to read.
        items, last = list[Item](), FileRecords()
        try:
            async with aclosing(stream_apart(self.read_s, read_batches, self.path, self.shown, self.fields)) as batches:
                async for last in batches:
                    items += last.items
        except OSError as error:
            raise self._unreadable(error) from error
        except ApartStartError as error:
            raise SourceError(f"jsonl: no process that reads documents can be started: {error}") from error
        except ApartError as error:
            raise SourceError(f"jsonl: {self.path} cannot be read: {error}") from error
        return FileRecords(tuple(items), last.bad, last.left_out)

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(f"jsonl: {self.path} cannot be read ({error.strerror or error})")

    def _take_changes(self, reading: FileRecords) -> None:
        known, self._last = self.problems, reading
        # The tuple stays the same while the items do.
        items = self._reading.items if reading.items == self._reading.items else reading.items
        self._reading = FileRecords(items, reading.bad, reading.left_out)
        told = self._reading.left_out if self.fail else self.problems
        _tell(problem for problem in told if problem not in known)

    def _outcome(self) -> tuple[Item, ...]:
        bad = self._reading.bad
        if bad and (self.fail or not self._reading.items):
            more = f"\nlines that are no item: {len(bad)}" if bad[_TOLD_AT_MOST:] else ""
            raise SourceError("jsonl: " + "\n".join(bad[:_TOLD_AT_MOST]) + more)
        if not self._reading.items:
            raise SourceError(f"jsonl: {self.path} holds no line with an object")
        return self._reading.items

    def _absent(self, error: OSError) -> str:
        # Needed only where something is wrong.
        folder, name = os.path.split(self.path)
        if not os.path.isdir(folder):
            return f"jsonl: there is no folder {folder}, where {name} should be"
        try:
            there: Iterable[str] = os.listdir(folder)
        except OSError:
            there = ()
        return f"jsonl: {self.path} cannot be read ({error.strerror or error}){did_you_mean(name, there)}"


def _tell(problems: Iterable[str]) -> None:
    told = list(problems)
    for problem in told[:_TOLD_AT_MOST]:
        logger.warning("%s", problem)
    if told[_TOLD_AT_MOST:]:
        logger.warning("and %d more; all are in `problems` of the source", len(told) - _TOLD_AT_MOST)
