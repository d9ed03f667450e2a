"""Several processes that listen on one port; the system gives each new connection to one of them.

They go by the limits of keys together, in a file that only they have (see `memory`), and tell each other what concerns
all of them (see `siblings`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from nexus_core.contract.errors import UsageError
from nexus_core.server.memory import make_file
from nexus_core.server.settings import Worker
from nexus_core.toolkit.children import environment

_LOOK_S = 1.0


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


def run_workers(count: int, command: Callable[[Worker], Sequence[str]]) -> int:
    """Run a command for each of so many workers and return an exit code, 0 where all went well.

    Signals to stop are passed on. Where one ends of its own accord all are stopped: whoever supervises this process is
    to start it again.
    """
    with TemporaryDirectory(prefix="nexus-") as folder:
        return _waited_for(_started(count, command, folder))


def _started(count: int, command: Callable[[Worker], Sequence[str]], folder: str) -> list[subprocess.Popen[bytes]]:
    file = make_file()
    try:
        workers = [
            Worker(number=number, count=count, parent=os.getpid(), file=file, folder=folder) for number in range(count)
        ]
        more: dict[str, Any] = {"start_new_session": True, "pass_fds": (file,), "env": environment()}
        return [subprocess.Popen(command(each), **more) for each in workers]
    finally:
        os.close(file)


def _waited_for(workers: Sequence[subprocess.Popen[bytes]]) -> int:
    signals: list[int] = []

    def told(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    before = {name: signal.signal(name, told) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        _first_to_end(workers)
        if not signals:  # a second one would cut what runs in the others
            told(signal.SIGTERM, None)
        return max((abs(worker.wait()) for worker in workers), default=0)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _first_to_end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    while all(worker.poll() is None for worker in workers):
        try:
            workers[0].wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
