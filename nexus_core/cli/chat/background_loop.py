"""Event loop in a thread of its own: sinks, stores and connections go on while somebody types.

The main thread waits in ordinary calls, which Ctrl-C interrupts: what it waited for is cancelled then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import aclosing
from queue import SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from nexus_core.cli.event_loop import without_joining

_T = TypeVar("_T")
LEAVING_S = 5.0
"""Seconds that what was cancelled may take to come to its end."""


class BackgroundLoop:
    """Runs coroutines for the thread that entered it; a context manager."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = Event()
        self._thread = Thread(target=self._run, name="nexus-chat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        loop, stop = self._opened()
        loop.call_soon_threadsafe(stop.set)
        self._thread.join(LEAVING_S)

    def call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what a coroutine returns; cancels it where the caller is interrupted."""
        future = asyncio.run_coroutine_threadsafe(work, self._opened()[0])
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, values: AsyncIterator[_T]) -> Generator[_T, None, None]:
        """Yield what an async generator yields; closing it early cancels that one and waits for its end, not long."""
        queue: SimpleQueue[tuple[_T] | None] = SimpleQueue()
        ended = Event()

        async def pump() -> None:
            try:
                async with aclosing(values) as each:  # type: ignore[type-var]  # a generator, as all streams are
                    async for value in each:
                        queue.put((value,))
            finally:
                queue.put(None)
                ended.set()

        future = asyncio.run_coroutine_threadsafe(pump(), self._opened()[0])
        try:
            while (value := queue.get()) is not None:
                yield value[0]
            future.result()
        finally:
            if not future.done():
                future.cancel()
                ended.wait(LEAVING_S)

    def _opened(self) -> tuple[asyncio.AbstractEventLoop, asyncio.Event]:
        if self._loop is None or self._stop is None:
            raise RuntimeError("the loop is not running: use `with BackgroundLoop() as loop`")
        return self._loop, self._stop

    def _run(self) -> None:
        asyncio.run(without_joining(self._serve()))

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stop.wait()
