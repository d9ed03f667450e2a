"""Journal of the runs of this process: writes their events in batches, tells that it lives, and ends what others left.

One transaction writes what waits of all runs, 250 ms after the first of it or as soon as one has 64 events. Each second
a server raises the beat of its runs. Where a beat stands still the server was killed: whoever sees that first writes
that the run was interrupted. Of a process on the same machine the system knows whether it lives, so that a restart does
not have to wait, and a busy disk is not taken for a death. No clock of one machine is compared with that of another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

from nexus_core.contract.errors import NexusError
from nexus_core.server.http.listener import ThrottledLog
from nexus_core.server.runs.approvals import settle
from nexus_core.server.runs.event_numbers import number_events
from nexus_core.server.runs.live_run import LiveRun, cancelled, interrupted
from nexus_core.server.runs.server_process import describe_process, find_life
from nexus_core.store.runs import StoredRun, StoredRuns

BATCH_S = 0.25
PAUSE_S = 0.01
"""Between two transactions: what comes meanwhile goes into one, of which each costs about as much as 30 events."""
BEAT_S = 1.0
DEAD_AFTER_S = 3.0
"""A beat that stands still for so long is that of a server that was killed."""
STUCK_AFTER_S = 60.0
"""The same where its process lives."""
READ_ELSEWHERE_S = 5.0
"""So long a run goes on at least after a reader at another server was heard of: that one tells of it each second."""
_EXPIRE_EVERY_S = 30.0

Interrupted = Callable[[StoredRun], tuple[bytes, bytes | None]]
"""Returns the last event of a run that was interrupted, without its id, and what its answer is from now on."""

_log = logging.getLogger(__name__)


class RunJournal:
    """Writes runs to the store; open between `open` and `close`."""

    def __init__(self, runs: Callable[[], StoredRuns], interrupted: Mapping[str, Interrupted]) -> None:
        self._runs = runs
        self._interrupted = interrupted
        self.server = describe_process()
        self.live: dict[str, LiveRun] = {}
        """The runs of this process, until their end is written."""
        self._dirty: dict[str, LiveRun] = {}
        self._unwanted: list[str] = []
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._writing = asyncio.Lock()
        self._seen: dict[str, tuple[int, float]] = {}
        """The beats of other servers' runs, and when they were first seen so."""
        self._readers: dict[str, int] = {}
        self._expired_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._failed = ThrottledLog(_log, "runs cannot be written to the store, %d times: %s")

    async def open(self) -> None:
        """Begin to write, and end what a server has left behind that is not there any more."""
        await self._attempt(self._end_left_behind)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._write_on()), loop.create_task(self._beat_on())]

    async def close(self) -> None:
        """Write what is left, and write no more."""
        async with self._writing:  # what is being written is not cut: it may be the end of a run, and nobody's then
            for task in self._tasks:
                task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        if self._timer is not None:
            self._timer.cancel()
        await self.flush()
        await self._attempt(self._discard)

    def note(self, run: LiveRun, *, hurries: bool = False) -> None:
        """Write what waits of a run before long, or at once."""
        if run.id not in self._dirty:
            self._dirty[run.id] = self.live[run.id] = run
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(BATCH_S, self._wake.set)
        if hurries:
            self._wake.set()

    def discard(self, id: str) -> None:
        """Delete a run that was not begun after all, if it is in the store."""
        self._unwanted.append(id)

    async def forget(self, run: LiveRun) -> None:
        """Delete a run that was refused before it began, and write no more of it."""
        async with self._writing:
            run.journal = None
            self.live.pop(run.id, None)
            self._dirty.pop(run.id, None)
            self.discard(run.id)
        await self._attempt(self._discard)

    async def flush(self) -> None:
        """Write what waits now; where the store cannot be written it waits on."""
        async with self._writing:
            dirty, self._dirty = self._dirty, {}
            self._wake.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not dirty:
                return
            taken = {run.id: run.batch() for run in dirty.values()}
            try:
                lost = await self._runs().keep(self.server, [batch for batch, _ in taken.values()])
            except NexusError as error:
                self._failed.note(str(error))
                self._dirty = {**dirty, **self._dirty}
                self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._wake.set)
                return
            for id, run in dirty.items():
                run.note_written(*taken[id])
                if taken[id][0].state != "running":
                    self.live.pop(id, None)
                elif run.pending:  # what came meanwhile
                    self.note(run)
            for id in lost:
                self._lose(id)

    async def _write_on(self) -> None:
        while True:
            await self._wake.wait()
            await self.flush()
            await asyncio.sleep(PAUSE_S)

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            if self._unwanted:
                await self._attempt(self._discard)
            if self.live:
                await self._attempt(self._beat)
            if any(run.waiting for run in self.live.values()):
                await self._attempt(self._hear_decisions)
            await self._attempt(self._end_left_behind)
            if monotonic() - self._expired_at >= _EXPIRE_EVERY_S:
                self._expired_at = monotonic()
                await self._attempt(self._runs().expire)

    async def _attempt(self, work: Callable[[], object]) -> None:
        try:
            await work()  # type: ignore[misc]
        except NexusError as error:
            self._failed.note(str(error))

    async def _discard(self) -> None:
        unwanted, self._unwanted = self._unwanted, []
        try:
            while unwanted:
                await self._runs().discard(unwanted[-1], self.server)
                unwanted.pop()
        finally:
            self._unwanted += unwanted

    async def _beat(self) -> None:
        """Tell that the runs of this process go on, and hear what others want of them."""
        known = {id for id, run in self.live.items() if run.batches and run.state == "running"}
        beats = {beat.id: beat for beat in await self._runs().beat(self.server)}
        for id in known:
            run, beat = self.live.get(id), beats.get(id)
            if run is None or run.state != "running":
                continue
            if beat is None:
                self._lose(id)
            elif beat.is_asked_to_end:
                run.stop(cancelled())
            elif self._readers.get(id, 0) != beat.readers:
                self._readers[id] = beat.readers
                if run.is_lingering:
                    run.look_after(READ_ELSEWHERE_S)
        self._readers = {id: count for id, count in self._readers.items() if id in self.live}

    async def _hear_decisions(self) -> None:
        """Let runs go on whose owners have answered at other servers."""
        for each in await self._runs().approvals.decided(self.server):
            settle(self.live.get(each.run_id), each.call_id, approved=each.approved)

    def _lose(self, id: str) -> None:
        """End a run that another server has taken for lost: its readers have been told so."""
        run = self.live.pop(id, None)
        if run is not None:
            self._dirty.pop(id, None)
            run.stop(interrupted())

    async def _end_left_behind(self) -> None:
        """Write that runs were interrupted whose server does not live any more."""
        seen, now = self._seen, monotonic()
        self._seen = {}
        for run in await self._runs().under_way(but=self.server):
            beat, since = seen.get(run.id, (run.beat, now))
            if beat != run.beat:
                since = now
            life = find_life(run.server)
            still_s = {"dead": 0.0, "unknown": DEAD_AFTER_S, "alive": STUCK_AFTER_S}[life]
            if now - since < still_s:
                self._seen[run.id] = (run.beat, since)
                continue
            frame, answer = self._interrupted[run.api](run)
            data = number_events(run.id.encode(), run.events, [frame])
            if await self._runs().interrupt(run, data, answer):
                _log.warning("run %s was interrupted: its server is gone", run.id)
