"""Analysis thread: one thread does all that takes time, so that the server reads on and nothing of it needs a lock.

It is a daemon: a plugin that never ends its import keeps no server from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_Work = tuple[Callable[[], Any], asyncio.Future[Any], asyncio.AbstractEventLoop]


class AnalysisThread:
    """Runs functions one after the other, in the order in which they are submitted."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Work] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[[], _Result]) -> asyncio.Future[_Result]:
        """Return a future of what a function returns or raises; the thread starts with the first one."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="nexus-lsp-analysis", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._waiting.put((function, future, loop))
        return future

    def _work(self) -> None:
        while True:
            function, future, loop = self._waiting.get()
            if future.cancelled():
                continue
            try:
                result, error = function(), None
            except BaseException as raised:  # noqa: BLE001 - also what a plugin raises to end its process
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the server has ended meanwhile
                return


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        own = isinstance(error, Exception)  # what ends processes must not end this one
        future.set_exception(error if own else RuntimeError(f"{type(error).__name__}: {error}"))
