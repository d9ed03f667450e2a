"""Supervisor of worker processes: they listen on one port, and one that dies is started again.

They go by the limits of keys together, in a file that only they have (see `shared_counters`), and tell each other what
concerns all of them (see `worker_rpc`). The system gives each new connection to one of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from types import FrameType
from typing import Any

from nexus_core.contract.errors import UsageError
from nexus_core.server.settings import END_S, WorkerSettings
from nexus_core.server.workers.shared_counters import make_file
from nexus_core.toolkit.processes.environment import environment
from nexus_core.toolkit.processes.limits import GRACE_S

FIRST_S = 0.5
LONGEST_S = 30.0
HEALTHY_S = 60.0
"""A worker that has served for so long was well: what comes after it begins at the first pause again."""
STARTS = 3
"""Starts in a row after which a worker that never served is given up."""


class RestartBackoff:
    """Counts the ends of one worker."""

    def __init__(self) -> None:
        self._ends = 0
        self._failed_starts = 0

    def after(self, lived_s: float, *, served: bool) -> float | None:
        """Return the pause after a process that lived so long; `None` where no other is to be started."""
        self._failed_starts = 0 if served else self._failed_starts + 1
        if self._failed_starts >= STARTS:
            return None
        self._ends = 1 if served and lived_s >= HEALTHY_S else self._ends + 1
        return min(FIRST_S * 2.0 ** (self._ends - 1), LONGEST_S) if self._ends < 64 else LONGEST_S


Command = Callable[[WorkerSettings], Sequence[str]]
"""Returns the command of a worker."""
_LOOK_S = 1.0
_WATCH_S = 0.2
_MARGIN_S = 2 * GRACE_S
"""After the time in which a worker ends itself: where a thread keeps the interpreter, it does not hear any signal."""
_WRONG_USAGE = 2
"""The exit code of a worker whose options or pipelines are wrong: it would end so each time."""

_log = logging.getLogger(__name__)


def check_workers(port: int) -> None:
    """Raise UsageError where several workers cannot listen on a port."""
    if sys.platform == "win32" or not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError("several workers cannot share a port on this system: leave --workers out")
    if not port:
        raise UsageError("several workers listen on one port: name it with --port")


async def outlived(parent: int, stop: Callable[[], None]) -> None:
    """Stop this worker when the process that has started it is gone: others may follow, and share nothing with it."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells of it on all systems
        await asyncio.sleep(_LOOK_S)
    stop()


def run_workers(count: int, command: Command, *, drain_s: float = 0.0, end_s: float = END_S + _MARGIN_S) -> int:
    """Run a command for each of so many workers until a signal ends them, and return an exit code, 0 if all went well.

    Signals to stop are passed on. A worker that ends by itself is started again, after a pause that grows; where one
    does not come to serve several times in a row, or says that its options are wrong, all are stopped. One that has not
    ended `end_s` after the time for what has begun (`drain_s`), or after a second signal, is killed.
    """
    file = make_file()
    try:
        with TemporaryDirectory(prefix="nexus-") as folder:
            workers = [
                WorkerSettings(number=number, count=count, parent=os.getpid(), file=file, folder=folder)
                for number in range(count)
            ]
            return _Watch([_Place(worker, command) for worker in workers], drain_s, end_s).run()
    finally:
        os.close(file)


class _Place:
    """One worker: the process that is it now, and when the next one is started."""

    def __init__(self, worker: WorkerSettings, command: Command) -> None:
        self._worker = worker
        self._command = command
        self._restarts = RestartBackoff()
        self._began = 0.0
        self._due: float | None = None
        self._told: subprocess.Popen[bytes] | None = None
        self.process = self._start()

    @property
    def is_down(self) -> bool:
        """Whether it has ended and waits to be started again: how it ended has been told, and says nothing of all."""
        return self._due is not None

    def _start(self) -> subprocess.Popen[bytes]:
        # That it is there again says that the worker has begun to serve.
        with suppress(FileNotFoundError):
            os.unlink(self._worker.socket(self._worker.number))
        self._due, self._began = None, monotonic()
        more: dict[str, Any] = {"start_new_session": True, "pass_fds": (self._worker.file,), "env": environment()}
        return subprocess.Popen(self._command(self._worker), **more)

    def look(self) -> int | None:
        """Start it again if it has ended and its time has come; where that is in vain, return what all end with."""
        if self._due is not None:
            if monotonic() >= self._due:
                self.process = self._start()
            return None
        code = self.process.poll()
        if code is None:
            return None
        number = self._worker.number
        served = Path(self._worker.socket(number)).exists()
        wait_s = self._restarts.after(monotonic() - self._began, served=served)
        if wait_s is None or (code == _WRONG_USAGE and not served):
            _log.error("worker %d does not start (%s), so all are stopped: see above why", number, _ending(code))
            return abs(code) or 1
        _log.warning("worker %d ended (%s) and is started again in %g s", number, _ending(code), wait_s)
        self._due = monotonic() + wait_s
        return None

    def tell(self, number: int) -> None:
        """Pass a signal on."""
        self._told = self.process
        if self.process.poll() is None:
            self.process.send_signal(number)

    def pass_on(self, number: int) -> None:
        """Pass a signal on that ends nothing, once it serves: before that it would end it."""
        if self.process.poll() is None and Path(self._worker.socket(self._worker.number)).exists():
            self.process.send_signal(number)

    def end(self, is_over: Callable[[], bool]) -> int:
        """Wait for the process, which is told to stop if it has not been, and return its exit code without a sign.

        It is killed as soon as the time is over.
        """
        if self._told is not self.process:  # it was started just as the signal came
            self.tell(signal.SIGTERM)
        while self.process.poll() is None and not is_over():
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_WATCH_S)
        if self.process.poll() is None:
            _log.error("worker %d has not ended in time and is killed", self._worker.number)
            self.process.kill()
        return abs(self.process.wait())


class _Watch:
    """Looks after the workers until they are told to stop."""

    def __init__(self, places: Sequence[_Place], drain_s: float, end_s: float) -> None:
        self._places = places
        self._drain_s = drain_s
        self._end_s = end_s
        self._killed_at: float | None = None
        """When a worker that is still there is killed; unknown before all are told to stop."""
        self._passes_on = False

    def run(self) -> int:
        """Return the exit code of all."""
        before = {name: signal.signal(name, self._tell) for name in (signal.SIGTERM, signal.SIGINT)}
        if hasattr(signal, "SIGHUP"):  # each worker looks at its files
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._pass_on)
        try:
            failed = self._until_stopped()
            self._set_end()
            ended = [place.end(self._is_over) for place in self._places if failed or not place.is_down]
            return failed or max(ended, default=0)  # those that were only stopped say nothing of why
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _until_stopped(self) -> int:
        while self._killed_at is None:
            for place in self._places:
                if (failed := place.look()) is not None:
                    return failed
            sleep(_WATCH_S)
        return 0

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self._set_end(is_hurried=self._killed_at is not None)
        if self._passes_on:  # a signal within its own handler: the workers get the first one
            return
        self._passes_on = True
        for place in self._places:
            place.tell(number)
        self._passes_on = False

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        for place in self._places:
            place.pass_on(number)

    def _set_end(self, *, is_hurried: bool = False) -> None:
        """Give the workers their time, if they have none yet; those who hurry leave none for what has begun."""
        least = monotonic() + self._end_s
        if is_hurried and self._killed_at is not None:
            self._killed_at = min(self._killed_at, least)
        elif self._killed_at is None:
            self._killed_at = least + self._drain_s

    def _is_over(self) -> bool:
        return self._killed_at is not None and monotonic() >= self._killed_at


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
