"""Several processes that listen on one port; the system gives each new connection to one of them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from types import FrameType


def run_workers(count: int, command: Sequence[str]) -> int:
    """Run a command so many times at once and return an exit code, 0 where all went well.

    Signals to stop are passed on. Where one ends of its own accord all are stopped: whoever supervises this process
    is to start it again.
    """
    workers = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]

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
