"""What a component leaves behind and what it shows: tasks, descriptors, warnings, logs, chains of errors."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SETTLE_S = 2.0
"""How long is waited for what closes a moment later, such as a socket that the loop has still to close."""


def open_descriptors() -> int | None:
    """Return how many files and sockets this process holds; `None` where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return None


class Leftovers:
    """Compares what there is with what there was."""

    def __init__(self) -> None:
        self._descriptors = open_descriptors()
        self._tasks = asyncio.all_tasks()

    def _new_leftovers(self) -> list[str]:
        found = [f"the task {task.get_name()} ({task.get_coro()!r})" for task in asyncio.all_tasks() - self._tasks]
        now = open_descriptors()
        if now is not None and self._descriptors is not None and now > self._descriptors:
            found.append(f"{now - self._descriptors} open files or sockets")
        return found

    async def leftovers(self) -> list[str]:
        """Return what is there now and was not, after a moment in which it may still go."""
        loop = asyncio.get_running_loop()
        end = loop.time() + SETTLE_S
        # A socket closes in a later turn of the loop, and nothing tells when.
        while (found := self._new_leftovers()) and loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return found


@contextmanager
def resource_warnings() -> Iterator[list[str]]:
    """Collect the warnings of whatever is thrown away without being closed."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ResourceWarning)
        yield told
        gc.collect()
    told += [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)]


class LogRecorder(logging.Handler):
    """Keeps every line that is logged, by whichever logger and at whichever level."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, its error included."""
        self.lines.append(self.format(record))

    def __enter__(self) -> LogRecorder:
        root = logging.getLogger()
        self._level = root.level
        root.addHandler(self)
        root.setLevel(1)
        return self

    def __exit__(self, *failure: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._level)


def shown_by(error: BaseException) -> str:
    """Return all that an error and the errors behind it show: texts, arguments, attributes, tracebacks."""
    seen: set[int] = set()
    texts: list[str] = []

    def walk(inner: Any) -> None:
        if not isinstance(inner, BaseException) or id(inner) in seen:
            return
        seen.add(id(inner))
        texts.extend([str(inner), repr(inner), repr(inner.args), repr(vars(inner))])
        texts.extend(getattr(inner, "__notes__", ()))
        for further in (inner.__cause__, inner.__context__, *getattr(inner, "exceptions", ()), *inner.args):
            walk(further)

    walk(error)
    texts.extend(traceback.format_exception(error))
    return "\n".join(texts)
