"""The places for runs: so many at once, a short queue that is fair to all keys; and the end of all that has begun."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from nexus_core.server.errors import Failure
from nexus_core.server.settings import ServerLimits

_CUT_S = 2.0
"""What requests may take to tell their clients that they were cut."""

Turn = asyncio.Future[None]


class RunSlots:
    """Gives places to runs, at once or after a short wait."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._running: set[asyncio.Task[object] | None] = set()
        self._taken = 0
        self._others: set[asyncio.Task[object] | None] = set()
        """Those of requests that are no runs, or none yet."""
        self._queues: OrderedDict[str, deque[Turn]] = OrderedDict()
        """Of those who wait, by key; the key whose turn it is stands first."""
        self._waiting = 0
        self._idle = asyncio.Event()
        self.is_draining = False
        self.is_cut = False
        self.make_room: Callable[[str | None], bool] = lambda key_id: False
        """Ends a run that nobody reads, if there is one."""

    @property
    def running(self) -> int:
        """How many places are taken."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return self._waiting

    @property
    def others(self) -> int:
        """How many requests are under way that are no runs, or none yet."""
        return len(self._others)

    def check_room(self) -> None:
        """Raise Failure where a run would be refused in any case: before its body is read."""
        if self.is_draining:
            raise shutting_down()
        if self._taken >= self._limits.running and self._waiting >= self._limits.waiting:
            raise _overloaded()

    def tasks(self) -> tuple[asyncio.Task[object], ...]:
        """Return the tasks of all requests that are under way, but for those that wait for a place."""
        return tuple(task for task in self._running | self._others if task is not None)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Hold a request that may come to its end when the server stops; raises Failure in it where it is cut."""
        task = asyncio.current_task()
        self._others.add(task)
        try:
            yield
        except asyncio.CancelledError as error:
            if not self.is_cut:
                raise
            raise cut_short() from error
        finally:
            self._others.discard(task)
            self._note_idle()

    def slot(self, key_id: str = "") -> RunSlot:
        """Return an async context manager that holds a place; entering raises Failure where there is none.

        `key_id` is the key that asks; those without one take turns as one key does.
        """
        return RunSlot(self, key_id)

    async def take(self, key_id: str) -> None:
        """Take a place, after a short wait if need be."""
        self.check_room()
        self._others.discard(asyncio.current_task())
        if self._taken >= self._limits.running or self._waiting:
            self.make_room(None)
            await self._turn(key_id)
        else:
            self._taken += 1
        self._running.add(asyncio.current_task())

    def hand_over(self, task: asyncio.Task[object] | None = None) -> None:
        """Leave what a task, by default this one, has begun to another one, which takes a place of its own."""
        self._others.discard(task or asyncio.current_task())

    def give_back(self) -> None:
        """Give the place of this task to who waits longest of the key whose turn it is, or back."""
        self._running.discard(asyncio.current_task())
        self._pass_on()

    def cut(self) -> None:
        """End all requests at once; they tell their clients."""
        if self.is_cut:
            return
        self.is_draining = self.is_cut = True
        for queue in self._queues.values():
            for turn in queue:
                if not turn.done():
                    turn.set_exception(shutting_down())
        for task in self.tasks():
            task.cancel()
        self._idle.set()

    async def drained(self, seconds: float) -> bool:
        """Let requests come to their end, for so long at most, then cut them; returns whether none had to be cut."""
        self.is_draining = True
        self._note_idle()
        if not self.is_cut:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)
        left = self.tasks()
        if not left:
            return not self.is_cut
        self.cut()
        await asyncio.wait(left, timeout=_CUT_S)
        return False

    async def _turn(self, key_id: str) -> None:
        """Wait for a place; FIFO among those of one key, in turn among the keys."""
        turn: Turn = asyncio.get_running_loop().create_future()
        queue = self._queues.setdefault(key_id, deque())
        queue.append(turn)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await turn
        except TimeoutError as error:
            if not _is_given(turn):  # else the place came in the last moment
                raise _overloaded() from error
        except asyncio.CancelledError:
            if _is_given(turn):
                self._pass_on()
            raise
        finally:
            self._waiting -= 1
            if turn in queue:
                queue.remove(turn)
            if not queue and self._queues.get(key_id) is queue:
                del self._queues[key_id]

    def _pass_on(self) -> None:
        for key in tuple(self._queues):
            queue = self._queues[key]
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    self._queues.move_to_end(key)
                    turn.set_result(None)
                    return
        self._taken -= 1
        self._note_idle()

    def _note_idle(self) -> None:
        if self.is_draining and not self._taken and not self._others:
            self._idle.set()


class RunSlot:
    """A place that is held."""

    __slots__ = ("_key_id", "_places")

    def __init__(self, places: RunSlots, key_id: str) -> None:
        self._places = places
        self._key_id = key_id

    async def __aenter__(self) -> None:
        await self._places.take(self._key_id)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._places.give_back()
        if isinstance(error, asyncio.CancelledError) and self._places.is_cut:
            raise cut_short() from error


def shutting_down() -> Failure:
    """Return what is told to whoever comes, or is cut, while the server stops."""
    return Failure(503, "server_shutting_down", "the server is about to stop", {"Retry-After": "5"})


def cut_short() -> Failure:
    """Take back that this task was cancelled, and return what its client is told instead."""
    take_back()
    return shutting_down()


def take_back() -> None:
    """Take back that this task was cancelled, by however many."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def _is_given(turn: Turn) -> bool:
    return turn.done() and not turn.cancelled() and turn.exception() is None


def _overloaded() -> Failure:
    return Failure(503, "overloaded", "the server is busy: try again in a moment", {"Retry-After": "1"})
