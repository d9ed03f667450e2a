"""The items of a JSONL file: read once, and again when the file has changed."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

from attrs import define

from nexus_core import Item, SourceError
from nexus_core.toolkit import ApartError, ApartStartError, did_you_mean, stream_apart
from nexus_jsonl.records import Fields, FileRecords, read, read_batches

LITTLE = 500_000
"""Bytes that are read without leaving the event loop; more is read in another process."""
READ_S = 120.0

_TICK_NS = 100_000_000
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
    _stamp: tuple[int, ...] | None = None
    _reading: FileRecords = FileRecords()
    _under_way: asyncio.Future[tuple[Item, ...]] | None = None
    _waiters: int = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong, one text each."""
        return self._reading.bad + self._reading.left_out

    async def items(self) -> tuple[Item, ...]:
        """Return the items: the same tuple while the file has not changed; raises SourceError where it cannot."""
        if self._under_way is None or self._under_way.done():
            stamp = self._look()
            if stamp == self._stamp:
                return self._outcome()
            if stamp[-1] <= LITTLE:
                return self._read(stamp)
            self._under_way = asyncio.ensure_future(self._read_apart(stamp))
            self._under_way.add_done_callback(_note_error)
        reading = self._under_way
        self._waiters += 1
        try:
            return await asyncio.shield(reading)
        finally:
            self._waiters -= 1
            if not self._waiters and not reading.done():  # nobody waits any more: the process is killed
                reading.cancel()
                self._under_way = None

    def _look(self) -> tuple[int, ...]:
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise SourceError(self._absent(error)) from error
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def _read(self, stamp: tuple[int, ...]) -> tuple[Item, ...]:
        began = time.time_ns()
        try:
            with open(self.path, "rb") as file:
                reading = read(file, self.shown, self.fields)
        except OSError as error:
            raise self._unreadable(error) from error
        return self._take_result(reading, stamp, began)

    async def _read_apart(self, stamp: tuple[int, ...]) -> tuple[Item, ...]:
        # For those who have much to read.
        began, items, last = time.time_ns(), list[Item](), FileRecords()
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
        return self._take_result(FileRecords(tuple(items), last.bad, last.left_out), stamp, began)

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(f"jsonl: {self.path} cannot be read ({error.strerror or error})")

    def _take_result(self, reading: FileRecords, stamp: tuple[int, ...], began: int) -> tuple[Item, ...]:
        known = self.problems
        if reading.items != self._reading.items:
            self._reading = reading
        else:  # the tuple stays the same while the items do
            self._reading = FileRecords(self._reading.items, reading.bad, reading.left_out)
        # What was written just now may be written again within the same tick of the file system's clock.
        self._stamp = stamp if abs(began - stamp[1]) > _TICK_NS else None
        told = self._reading.left_out if self.fail else self.problems
        _tell(problem for problem in told if problem not in known)
        return self._outcome()

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


def _note_error(work: asyncio.Future[Any]) -> None:
    """Look at the error of work whose waiters may all have been cancelled."""
    if not work.cancelled():
        work.exception()
