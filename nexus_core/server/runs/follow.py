"""Readers of runs by what is kept of them: from an event on, to the end, in whatever process of whatever server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic

from nexus_core.contract.errors import UsageError
from nexus_core.server.errors import Failure
from nexus_core.server.http.sse import EventStream
from nexus_core.server.runs.event_numbers import gap_event, number_events, split_events
from nexus_core.server.runs.journal import RunJournal
from nexus_core.server.runs.live_run import LiveRun
from nexus_core.store.runs import StoredRun, StoredRuns
from nexus_core.store.store_view import StoreView

LOOK_S = 0.25
"""So often a reader looks for what another server has written."""
_TELL_S = 1.0
"""So often that server is told that there is a reader."""
_RUN_ID = re.compile(r"[0-9a-f]{32}")
"""As servers make them: nothing else is waited for."""
NO_RUN = "run_not_found"
_THERE_WITHIN_S = 3.0
"""So long a run may take to come into the store after its first event, where that is busy."""
WriteGap = Callable[[int, int], bytes]
"""Returns the event that stands for those that are not kept, from one number to another, or raises Failure."""
_BEGINS = b": from here on\n"
"""A comment, so that the head goes out at once where no event does."""


class RunFollower:
    """One reader of a run, in the name of who asks."""

    def __init__(self, journal: RunJournal | None, runs: StoredRuns, view: StoreView, id: str, owner: str) -> None:
        self._journal = journal
        self._runs = runs
        self._view = view
        self._id = id
        self._owner = owner
        self._told_at = 0.0

    async def get(self, *, had_events: bool = False) -> StoredRun:
        """Return the run as it is now; raises Failure where there is none for who asks.

        A busy store may have it only a moment after its first event was sent: one that is under way here, or of which
        the client had events, is waited for.
        """
        ends = monotonic() + _THERE_WITHIN_S
        while True:
            try:
                return await self._view.run(self._id, self._owner)
            except UsageError as error:
                may_come = had_events and _RUN_ID.fullmatch(self._id) is not None
                if monotonic() >= ends or not (may_come or self._is_not_kept_yet()):
                    raise no_run(self._id, error) from error
            await asyncio.sleep(LOOK_S)

    def _is_not_kept_yet(self) -> bool:
        run = self._live()
        return run is not None and run.new.owner == self._owner and not run.is_kept.is_set()

    async def beginning(self) -> StoredRun:
        """Return the run once it has an event, which may be that of its end."""
        return await self._once(lambda run: run.events > 0 or run.state != "running")

    async def outcome(self) -> StoredRun:
        """Return the run once it has ended."""
        return await self._once(lambda run: run.state != "running")

    async def _once(self, holds: Callable[[StoredRun], bool]) -> StoredRun:
        with self._noted():
            while True:
                changed = self._changed()
                if holds(run := await self.get()):
                    return run
                await self._wait(changed)

    async def last_event(self, run: StoredRun) -> bytes:
        """Return the last event of a run that has ended, nothing where it is not kept."""
        _, frames = await self._next(run.events - 1)
        return frames[-1][1] if frames else b""

    async def send(self, out: EventStream, after: int, gap: WriteGap | None = None) -> None:
        """Send what is kept after an event, and what comes, to the end; what is not kept any more is a gap.

        Raises Failure for the number of an event that the run never had, and what `gap` raises.
        """
        write_gap, began = gap or partial(gap_event, self._id), after
        with self._noted():
            changed = self._changed()
            run, frames = await self._next(after)
            self._check_number(run, after)
            while True:
                if frames:
                    missing = write_gap(after + 1, frames[0][0] - 1) if frames[0][0] > after + 1 else b""
                    await out.send(missing + b"".join(frame for _, frame in frames))
                    after = frames[-1][0]
                elif run.state == "running":
                    if not out.has_begun:
                        await out.send(_BEGINS)
                    await self._wait(changed)
                elif after < run.events:
                    return await out.end(write_gap(after + 1, run.events))
                else:
                    self._check_number(run, after)
                    is_ahead = after == began and run.state == "interrupted"
                    return await out.end(await self._interruption(run, after) if is_ahead else b"")
                changed = self._changed()
                run, frames = await self._next(after)

    def _check_number(self, run: StoredRun, after: int) -> None:
        """Raise Failure where a run has no event with a number.

        One that goes on elsewhere may have sent events that it has not written yet, and so may one that was killed.
        """
        live = self._live()
        is_unknown = run.state == "running" and live is None
        last = run.events if live is None else live.events
        if after > last and not is_unknown and run.state != "interrupted":
            said = (
                f"the run has no event {after}: its last one so far is {last}; send the number of one that you have had"
            )
            raise Failure(400, "invalid_request", said)

    async def _next(self, after: int) -> tuple[StoredRun, list[tuple[int, bytes]]]:
        """Return the run and the next events that are kept after one, each with its number."""
        try:
            run, batches = await self._view.run_events(self._id, self._owner, after)
        except UsageError as error:
            raise no_run(self._id, error) from error
        found: list[tuple[int, bytes]] = []
        for first, _, data in batches:
            if found and first > found[-1][0] + 1:  # a gap, told with the next events
                break
            found += [each for each in enumerate(split_events(data), first) if each[0] > after]
        return run, found

    async def _interruption(self, run: StoredRun, after: int) -> bytes:
        """Return the last event of an interrupted run for who says to have had that number, under the next one.

        What a server had sent in its last moments was not kept: its client has numbers that are not in the store, and
        that of the last event may have been one of them. It is told the end rather than nothing.
        """
        _, _, rest = (await self.last_event(run)).partition(b"\n")
        return number_events(self._id.encode(), after, [rest]) if rest else b""

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Let a run of this process know that it is read."""
        run = self._live()
        if run is None:
            yield
            return
        run.followers += 1
        run.look_after()
        try:
            yield
        finally:
            run.followers -= 1
            run.look_after()

    def _live(self) -> LiveRun | None:
        return None if self._journal is None else self._journal.live.get(self._id)

    def _changed(self) -> asyncio.Event | None:
        """Return what is set when more is written; `None` where another process writes it."""
        run = self._live()
        return None if run is None else run.changed

    async def _wait(self, changed: asyncio.Event | None) -> None:
        """Wait until there may be more."""
        if changed is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TELL_S):
                    await changed.wait()
            return
        if monotonic() - self._told_at >= _TELL_S and self._runs.may_write:
            self._told_at = monotonic()
            await self._runs.note_reader(self._id)
        await asyncio.sleep(LOOK_S)


def no_run(id: str, error: Exception) -> Failure:
    """Return what is told of a run that is not there for who asks."""
    said = f"there is no run {id[:80]!r} of yours, or it has expired"
    return Failure(404, NO_RUN, said, words=str(error))
