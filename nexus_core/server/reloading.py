"""Takes pipelines anew when their files change; what cannot be taken leaves the last good version in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nexus_core.contract.errors import NexusError
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.serve import Server
from nexus_core.server.serving import pipeline_files

_LOOK_S = 1.0
_GRACE_S = 1.0

Stamp = tuple[int, int]


class Reloading:
    """Looks at the files each second; new requests go to what was loaded last, and old runs end where they began."""

    def __init__(
        self,
        paths: Sequence[str],
        loaded: Mapping[Path, Pipeline],
        server: Server,
        load: Callable[[Path], Pipeline],
        say: Callable[[str], None],
    ) -> None:
        self._paths = paths
        self._loaded = dict(loaded)
        self._server = server
        self._load = load
        self._say = say
        self._stamps = {file: _stamp(file) for file in loaded}
        self._retiring: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Take what has changed since the last look."""
        try:
            files = pipeline_files(self._paths)
        except (NexusError, OSError):  # the folder is gone, or empty, for now
            files = []
        for file in dict.fromkeys((*files, *self._loaded)):
            stamp = _stamp(file)
            if stamp == self._stamps.get(file):
                continue
            self._stamps[file] = stamp
            if stamp is None:
                self._say(f"{file} is gone: its pipeline is served as it was")
            else:
                await self._take(file)

    async def _take(self, file: Path) -> None:
        before = self._loaded.get(file)
        try:
            after = self._load(file)
            named = self._server.serving.pipelines.get(after.name)
            if named is not None and named is not before:
                self._say(f"{file} has changed, and another file has a pipeline {after.name!r}: it is not served")
                return
            await self._server.serving.swap(before, after)
        except NexusError as error:
            kept = "the last good version is served" if before is not None else "it is not served"
            self._say(f"{file} has changed and cannot be taken; {kept}:\n{error}")
            return
        self._loaded[file] = after
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


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
