"""Processes beside a benchmark that answer words on their standard input by a line of JSON, and end with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any


class Asked:
    """Such a process, once it has said `ready` and what else there is to know."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        assert process.stdout is not None
        self.said = process.stdout.readline().split()[1:]

    def ask(self, what: str) -> Any:
        """Return what it says to a word."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> int:
        """Let it end well, and return its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait()


@contextlib.contextmanager
def asked(script: str, *arguments: str) -> Iterator[Asked]:
    """Run a script of this folder as such a process."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Asked(process)
        finally:
            process.terminate()


async def answer(words: Callable[[str], Awaitable[object]]) -> None:
    """Answer the words on standard input, in such a process, until it ends."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str]()
    loop.add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline().strip()))
    while word := await lines.get():
        print(json.dumps(await words(word)), flush=True)
    loop.remove_reader(sys.stdin)
