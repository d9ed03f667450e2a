"""Runs what a command does, so that Ctrl-C ends it in any case and stuck work keeps no process alive."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock, Thread, current_thread, main_thread
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from nexus_core.toolkit.processes.daemon_threads import run_job
from nexus_core.toolkit.processes.leaving import INTERRUPTED
from nexus_core.toolkit.processes.limits import end_within

_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = logging.getLogger(__name__)
FIRST_S = 30.0
"""What is under way may take so long to end after Ctrl-C, and"""
SECOND_S = 1.0
"""so long after a second one."""


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Return what a coroutine returns; Ctrl-C cancels it, a second one ends the process."""
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return asyncio.run(without_joining(work))
    interrupts = _Interrupts()
    signal.signal(signal.SIGINT, interrupts.hear)
    try:
        found = asyncio.run(without_joining(interrupts.heed(work)))
    except asyncio.CancelledError:
        if interrupts.count:
            raise KeyboardInterrupt from None
        raise
    finally:
        if not interrupts.count:  # otherwise a second one must still end the process
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupts.count and not interrupts.reached:  # too late for the work, but not for what the caller does next
        raise KeyboardInterrupt
    return found


def run_steadily(work: Coroutine[Any, Any, _T]) -> _T:
    """Return what a coroutine returns, in an event loop that goes on whatever other code in it does: for a server.

    A plugin may call `loop.stop()`, or raise SystemExit in a task that it has created, which asyncio lets out of the
    loop: the requests of others are under way there.
    """
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(without_joining(work))
        while True:
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
                is_interrupt = isinstance(error, KeyboardInterrupt) and _raises_interrupts()
                if task.done() or is_interrupt:
                    raise
                _log.error("something, perhaps a plugin, has stopped the event loop, which goes on: %r", error)


def _raises_interrupts() -> bool:
    """Tell whether Ctrl-C raises a KeyboardInterrupt, so that one may be a person's."""
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def without_joining(work: Coroutine[Any, Any, _T]) -> _T:
    """Return what a coroutine returns, in an event loop that does not wait at its end for threads that are stuck."""
    asyncio.get_running_loop().set_default_executor(DetachedThreads())
    return await work


class _Interrupts:
    """Counts Ctrl-C: the first one lets what is under way come to its end."""

    def __init__(self) -> None:
        self.count = 0
        self.reached = False
        """Whether the work was told of it, and may have ended as it likes to."""
        self._tell: Callable[[], object] | None = None

    async def heed(self, work: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        self._tell = partial(loop.call_soon_threadsafe, self._cancel, task)
        if self.count:  # before there was a loop
            work.close()
            raise asyncio.CancelledError
        return await work

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        end_within(FIRST_S if self.count == 1 else SECOND_S, INTERRUPTED)
        if self.count == 1 and self._tell is not None:
            with suppress(RuntimeError):  # the loop is closed: all is done but to leave
                self._tell()

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        self.reached = task.cancel()


class DetachedThreads(ThreadPoolExecutor):
    """Does work in threads that nobody waits for at the end; asyncio takes no other class as its executor."""

    def __init__(self, most: int = 32) -> None:
        """Take how many threads there may be at once; more work waits."""
        super().__init__(1)  # whose own thread never starts
        self._most = most
        self._count = 0
        self._lock = Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Begin some work, or let it wait for a thread."""
        future: Future[_T] = Future()
        job = future, partial(fn, *args, **kwargs)
        with self._lock:
            if self._count >= self._most:
                self._waiting.append(job)
                return future
            self._count += 1
        Thread(target=self._work, args=job, name="nexus-work", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Return at once: whoever runs the loop has all that it wanted."""

    def _work(self, future: Future[Any], call: Callable[[], Any]) -> None:
        while True:
            run_job(future, call)
            with self._lock:
                if not self._waiting:
                    self._count -= 1
                    return
                future, call = self._waiting.popleft()
