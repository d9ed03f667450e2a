"""Takes pipelines anew when their files change; what cannot be taken leaves the last good version in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nexus_core.contract.errors import ConfigError, NexusError
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.pipelines import pipeline_files
from nexus_core.server.server import Server

_LOOK_S = 1.0
_GRACE_S = 1.0
OPEN_S = 60.0
"""A pipeline that is not open and warm after this time is not taken: others wait for it."""

Stamps = dict[Path, tuple[int, int] | None]
"""Of the files of one pipeline: when each has changed, and its size; `None` for one that is not there."""


class PipelineReloader:
    """Looks at the files each second; new requests go to what was loaded last, and old runs end where they began.

    The files of a pipeline are its own, and the plugins and templates beside it that it names.
    """

    def __init__(
        self,
        paths: Sequence[str],
        loaded: Mapping[Path, Pipeline],
        server: Server,
        load: Callable[[Path], Pipeline],
        say: Callable[[str], None],
        open_s: float = OPEN_S,
    ) -> None:
        self._paths = paths
        self._loaded = dict(loaded)
        self._server = server
        self._load = load
        self._say = say
        self._open_s = open_s
        self._suspects: dict[Path, tuple[Path, ...]] = {}
        """Files that the last version of a pipeline, which could not be taken, has problems in."""
        self._known = {file: self._stamps(file) for file in loaded}
        self._retiring: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            looking = asyncio.create_task(self.look())  # of its own: a plugin may cancel what opens it
            try:
                await asyncio.wait([looking])
            finally:
                looking.cancel()
            if looking.cancelled() or looking.exception() is not None:
                self._say(
                    "the files of pipelines could not be looked at: a plugin has ended that; they are tried again"
                )

    async def look(self) -> None:
        """Take what has changed since the last look."""
        async with self._looking:  # a request and a signal may ask for it at the same time
            await self._look()

    async def _look(self) -> None:
        try:
            files = pipeline_files(self._paths)
        except (NexusError, OSError):  # the folder is gone, or empty, for now
            files = []
        for file in dict.fromkeys((*files, *self._loaded)):
            stamps = self._stamps(file)
            if stamps == self._known.get(file):
                continue
            if stamps[file] is None:
                self._say(f"{file} is gone: its pipeline is served as it was")
            else:
                await self._take(file)
            # What changes while it is read is to be seen the next time; only new files are looked at now.
            self._known[file] = self._stamps(file, stamps)

    async def _take(self, file: Path) -> None:
        before = self._loaded.get(file)
        try:
            after = self._load(file)
            named = self._server.serving.pipelines.get(after.name)
            if named is not None and named is not before:
                self._say(f"{file} has changed, and another file has a pipeline {after.name!r}: it is not served")
                return
            async with asyncio.timeout(self._open_s):
                await self._server.serving.swap(before, after)
        except (NexusError, TimeoutError) as error:
            problems = error.problems if isinstance(error, ConfigError) else ()
            why = str(error) or f"it was not open after {self._open_s:g} s"
            self._suspects[file] = tuple({Path(problem.file): None for problem in problems})
            kept = "the last good version is served" if before is not None else "it is not served"
            self._say(f"{file} has changed and cannot be taken; {kept}:\n{why}")
            return
        self._loaded[file] = after
        self._suspects.pop(file, None)
        self._say(f"{file} has changed: {after.name} is served as it is now")
        if before is not None:
            task = asyncio.create_task(self._retire(before))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _retire(self, pipeline: Pipeline) -> None:
        """Close a pipeline when the last of those that may run on it has ended."""
        await asyncio.sleep(self._server.settings.limits.wait_s + _GRACE_S)  # who waits for a place has one by then
        runs = self._server.gate.places.tasks()
        if runs:
            await asyncio.wait(runs)
        await self._server.serving.retire(pipeline)

    def _stamps(self, file: Path, known: Stamps | None = None) -> Stamps:
        """Return what changes when a file of a pipeline does, as it was known where it was."""
        loaded = self._loaded.get(file)
        named = loaded.files if loaded is not None else ()
        seen = known or {}
        files = dict.fromkeys((file, *named, *self._suspects.get(file, ())))
        return {each: seen[each] if each in seen else _looked_at(each) for each in files}


def _looked_at(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
