"""Pipelines that are loaded again: what one of them does when it is opened ends no look at the files of others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nexus_core import Pipeline
from nexus_core.server import reload
from nexus_core.server.reload import PipelineReloader

if TYPE_CHECKING:
    from tests.server.conftest import Start

pytestmark = pytest.mark.slow

SINK = """
import asyncio
from nexus_core import component, hookimpl, option
@component
class Stuck:
    '''Is opened as `how` says.'''
    name = 'stuck'
    how: str = option('', help='In which way.')
    async def __aenter__(self):
        if self.how == 'cancels':
            asyncio.current_task().cancel()
        if self.how:
            await asyncio.Event().wait()
        return self
    async def __aexit__(self, *_):
        return None
    def emit(self, event): ...
    def flush(self): ...
@hookimpl
def nexus_sinks():
    return [Stuck]
"""
OWN = """name: {name}
description: {described}
plugins: [./stuck.py]
models: {{main: {{use: extractive}}}}
sinks: [{{use: stuck, how: "{how}"}}]
steps: [{{gather: {{use: inline, items: [{{id: a, text: b}}]}}}}, {{prompt: qa}}, {{generate: main}}]
"""


@pytest.mark.parametrize("how", ["hangs", "cancels"])
async def test_a_pipeline_that_is_not_opened_holds_up_no_other(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What it was answers as before, it is told, and what changes next is taken, of whichever file."""
    monkeypatch.setattr(reload, "_LOOK_S", 0.05)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "stuck.py").write_text(SINK)
    files = {name: folder / f"{name}.yaml" for name in ("first", "second")}
    told: asyncio.Queue[str] = asyncio.Queue()

    def write(name: str, described: str, how: str = "") -> None:
        files[name].write_text(OWN.format(name=name, described=described, how=how))
        times.append(len(times))
        os.utime(files[name], (times[-1], times[-1]))

    times: list[int] = []
    for name in files:
        write(name, "before")
    running = await start()
    serving = running.server.serving
    loaded = {file: Pipeline.load(file) for file in files.values()}
    for pipeline in loaded.values():
        await serving.swap(None, pipeline)
    reloader = PipelineReloader([str(folder)], loaded, running.server, Pipeline.load, told.put_nowait, 1.0)
    reloading = asyncio.create_task(reloader.run())
    async with asyncio.timeout(60):
        write("first", "never", how)
        await told.get()
        assert serving.pipelines["first"].description == "before"
        for name in files:
            while serving.pipelines[name].description != "after":
                write(name, "after")  # again, where a slow machine did not open it in time
                await told.get()
    assert not reloading.done()
    reloading.cancel()
