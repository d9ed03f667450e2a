"""The end of commands: whatever is stuck, Ctrl-C twice or SIGTERM end them, and no end waits for a thread."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

HEAD = """
import asyncio, re, sys, threading, time
from nexus_core.cli import event_loop
from nexus_core.toolkit.processes.limits import end_within

def stuck():
    print("begun", flush=True)
    threading.Event().wait()

def run(work):
    try:
        return event_loop.run(work)
    except KeyboardInterrupt:
        sys.exit(130)
"""
IN_A_THREAD = "async def work():\n    await asyncio.to_thread(stuck)\nrun(work())\n"
IN_THE_LOOP = """
async def work():
    print("begun", flush=True)
    while True:
        time.sleep(0.01)
run(work())
"""
AT_THE_END = """
async def work():
    try:
        await asyncio.to_thread(stuck)
    finally:
        await asyncio.Event().wait()
run(work())
"""
LATE = """
async def work():
    try:
        await asyncio.wait_for(asyncio.to_thread(stuck), 0.2)
    except TimeoutError:
        return "late"
print(run(work()))
"""
KEPT = "end_within(0.1, 7)\nprint('begun', flush=True)\nre.match('(a+)+$', 'a' * 64 + 'b')\n"

SERVED = """name: stuck
plugins: [stuck.py]
models: {m: extractive}
steps:
  - gather: {use: inline, items: [{id: a, text: Everybody has 28 days of leave.}]}
  - rank: stuck
  - prompt: chat
  - generate: m
"""
RANKER = """
import sys, threading, time
from nexus_core import hookimpl, ranker

@ranker
def stuck(query, items):
    print("stuck", file=sys.stderr, flush=True)
    while True:
        time.sleep(0.01)

@hookimpl
def nexus_rankers():
    return [stuck]
"""


def begun(code: str) -> subprocess.Popen[str]:
    """Run a program until it says that it is stuck."""
    # With a shell behind it that ignores signals a program would ignore them, too.
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + code], stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("code", [IN_A_THREAD, IN_THE_LOOP, AT_THE_END], ids=["thread", "loop", "clean-up"])
def test_second_interrupt_ends_a_command_whatever_is_stuck(code: str) -> None:
    """With the exit code of an interruption; a thread alone holds up nothing even after the first."""
    with begun(code) as process:
        try:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):  # two at once would be one
                process.wait(0.5)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()


def test_command_that_gives_up_on_a_thread_ends() -> None:
    """Its result is there, and nobody waits for the rest."""
    with begun(LATE) as process:
        try:
            said, _ = process.communicate(timeout=60)
            assert (process.returncode, said) == (0, "late\n")
        finally:
            process.kill()


def test_end_in_time_needs_no_turn_of_the_interpreter() -> None:
    """A regular expression that never ends lets no other thread run."""
    with begun(KEPT) as process:
        try:
            assert process.wait(60) in (1, 7)
        finally:
            process.kill()


def test_server_that_is_stuck_ends_in_time_after_sigterm(tmp_path: Path) -> None:
    """A plugin that keeps the event loop keeps no server alive."""
    (tmp_path / "stuck.py").write_text(RANKER)
    (tmp_path / "p.yaml").write_text(SERVED)
    command = [sys.executable, "-P", "-m", "nexus_core.cli.main", "serve", "p.yaml", "--port=0", "--drain=100ms"]
    environment = {**os.environ, "NEXUS_STORE": "store"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            origin = next(line.split()[-1] for line in server.stderr if "listening on" in line)
            Thread(target=_ask, args=(origin,), daemon=True).start()
            assert any("stuck" in line for line in server.stderr)
            server.terminate()
            assert server.wait(60) == 1
        finally:
            server.kill()


def _ask(origin: str) -> None:
    body = json.dumps({"query": "Why?", "pipeline": "stuck", "contextId": "stuck"}).encode()
    request = urllib.request.Request(origin + "/api/queries", body, {"Content-Type": "application/json"})
    with pytest.raises(OSError, match="."):
        urllib.request.urlopen(request, timeout=60)
