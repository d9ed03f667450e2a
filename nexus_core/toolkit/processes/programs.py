"""Programs: children that are no Python of ours, such as servers of tools: allowed by name, ended with this process.

A program gets a minimal environment, no key of ours among it, and a process group of its own. Where the system can do
that, a watcher in the group ends it with this process, also where that is killed: it waits for the end of a pipe that
nobody else holds.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from attrs import define

from nexus_core.contract.errors import PluginError
from nexus_core.toolkit.processes.environment import safe_path

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR") + (
    ("APPDATA", "LOCALAPPDATA", "PATHEXT", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "USERPROFILE")
    if sys.platform == "win32"
    else ()
)
"""The variables that a program has of this process; what it needs besides is named by whoever declares it."""
OPTION = "--allow-program"
END_S = 1.0
"""For a program to end when its input is closed, and once more when it is asked to by SIGTERM."""
_LOOK_S = 0.01
_LOADERS = ("LD_", "DYLD_")
# The watcher is a grandchild, so that the program has no child that it does not know.
_LAUNCHER = """
import os, signal, sys
watched = int(sys.argv[1])
first = os.fork()
if first == 0:
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.read(watched, 1)
    os.killpg(0, signal.SIGKILL)
os.waitpid(first, 0)
os.close(watched)
try:
    os.execv(sys.argv[2], sys.argv[3:])
except OSError as error:
    sys.stderr.write(f"it cannot be executed: {error.strerror}\\n")
    os._exit(126)
"""


def find_program(name: str, folder: str, allowed: Collection[str] | None) -> str:
    """Return the path of a program; raises PluginError where it is not allowed or not there.

    A name without a slash is looked for in `PATH`, and allowed by that name; one with a slash is a path from `folder`,
    allowed by its path.
    """
    has_path = os.path.basename(name) != name
    path = os.path.abspath(os.path.join(folder, name)) if has_path else name
    known = {os.path.abspath(each) if os.path.basename(each) != each else each for each in allowed or ()}
    if path not in known:
        raise PluginError(
            f"the program {name!r} may not be started: say `{OPTION} {path}`, or in Python "
            f"`SharedResources(programs=[{path!r}])`, if you trust it and the pipeline that names it"
        )
    # What stands in the current folder is nobody's choice: a relative entry of PATH would find it.
    places = os.pathsep.join(safe_path(os.environ.get("PATH", os.defpath).split(os.pathsep)))
    found = shutil.which(path, path=places)
    if found is None:
        raise PluginError(f"the program {name!r} is not there" + ("" if has_path else ", in no folder of PATH"))
    return found


def program_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program; raises ValueError for a variable that would load other code into it."""
    for name in given:
        if name.upper().startswith(_LOADERS) or name.upper() == "PATH" or not name or "=" in name:
            raise ValueError(f"the variable {name!r} may not be set for a program")
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(given)


@define(eq=False, repr=False)
class RunningProgram:
    """A program that was started; whoever starts it stops it."""

    process: Process
    _watched: int | None
    """The end of the pipe whose closing ends the program and all that it has started."""

    async def stop(self) -> None:
        """End it: close its input, then SIGTERM, then SIGKILL, for it and what it has started and not let go."""
        try:
            if self.process.stdin is not None:
                self.process.stdin.close()
            if not await self._has_ended():
                self._signal(signal.SIGTERM)
                await self._has_ended()
        finally:
            self.kill()
        await self._has_ended()
        # What left the group may hold the pipes, and would be waited for.
        transport = getattr(self.process, "_transport", None)
        if transport is not None:
            transport.close()

    def kill(self) -> None:
        """End it at once."""
        if sys.platform == "win32":
            with suppress(ProcessLookupError):
                self.process.kill()
            return
        # Its number is nobody else's as long as the watcher is in the group, which this ends, too.
        self._signal(signal.SIGKILL)
        if self._watched is not None:
            os.close(self._watched)
            self._watched = None

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self.process.send_signal(number)
            else:
                os.killpg(self.process.pid, number)

    async def _has_ended(self) -> bool:
        """Wait a while for its end; not by `wait`, which waits for all that hold its pipes, too."""
        loop = asyncio.get_running_loop()
        until = loop.time() + END_S
        while self.process.returncode is None:
            if loop.time() > until:
                return False
            await asyncio.sleep(_LOOK_S)
        return True


async def start_program(
    path: str, arguments: Sequence[str], *, folder: str, environment: Mapping[str, str]
) -> RunningProgram:
    """Start a program in a folder, with pipes for its input, output and errors; raises OSError."""
    if sys.platform == "win32":
        return RunningProgram(await _spawn([path, *arguments], folder, environment), None)
    reads, writes = os.pipe()
    try:
        command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(reads), path, path, *arguments]
        process = await _spawn(command, folder, environment, (reads,))
    except BaseException:
        os.close(writes)
        raise
    finally:
        os.close(reads)
    return RunningProgram(process, writes)


async def _spawn(
    command: Sequence[str], folder: str, environment: Mapping[str, str], passed: Sequence[int] = ()
) -> Process:
    # Cancelled meanwhile, asyncio would wait for its end for ever, so it is let begin.
    beginning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
            pass_fds=tuple(passed),
        )
    )
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        with suppress(OSError):
            await RunningProgram(await beginning, None).stop()
        raise
