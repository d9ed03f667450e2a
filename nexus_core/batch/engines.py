"""Batch engines: what runs the records of a batch. This machine's is built in; others are found by entry points.

A distribution names its engines in the group `contextnexus.engines`, as `ray = "nexus_ray.engine:RayEngine"`. The names
are read without importing anything; what is asked for is imported, and the class made without arguments.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from attrs import field, frozen

from nexus_core.batch.control import BatchControl, BatchTask
from nexus_core.batch.record_runner import BatchInterceptor, RecordRunner, prices_of
from nexus_core.contract.errors import PluginError, UsageError, describe_error
from nexus_core.contract.hookspecs import installed_entry_points
from nexus_core.contract.protocols import AnswerCache
from nexus_core.contract.values import Value
from nexus_core.engine.interceptors import Interceptor, InterceptorChain
from nexus_core.engine.pipeline import Pipeline
from nexus_core.engine.plugin_guard import PluginGuard
from nexus_core.recordings.replayer import recording_interceptor, replay_environment
from nexus_core.toolkit.shared_resources import SharedResources
from nexus_core.toolkit.suggest import instead, listed

GROUP = "contextnexus.engines"
LOCAL = "local"


@frozen(kw_only=True, eq=False)
class BatchJob(Value):
    """What every machine of an engine needs to know of a batch: values alone, no secret among them."""

    pipeline: Path
    overrides: tuple[str, ...] = ()
    model: str | None = None
    inputs: Mapping[str, Any] = field(factory=dict)
    """For each record that does not give them itself."""
    options: Mapping[str, str] = field(factory=dict)
    """Of the engine, by name."""
    fresh: bool = False
    """Models are asked though an answer is in their cache."""
    record: Path | None = None
    replay: Path | None = None
    """The folder of recordings to write, or to answer from."""
    programs: tuple[str, ...] | None = None
    """Those that components may start on this machine; on others none is."""


@runtime_checkable
class BatchEngine(Protocol):
    """Runs the records that a control gives out, and hands it what became of each."""

    async def check(self, job: BatchJob) -> None:
        """Raise what stands against the job, before any request; nothing is begun."""

    async def run(self, job: BatchJob, control: BatchControl, hurry: asyncio.Event) -> None:
        """Run records until `control.next()` gives none, and end what is under way; at once where `hurry` is set."""


def engine_of(name: str, answers: AnswerCache | None = None) -> BatchEngine:
    """Return an engine by its name; raises UsageError for an unknown one, PluginError for one that is broken.

    `answers` keeps answers for models with a `cache`, for the engine of this machine.
    """
    if name == LOCAL:
        return LocalEngine(answers)
    found: dict[str, list[EntryPoint]] = {}
    for point in installed_entry_points(GROUP):
        found.setdefault(point.name, []).append(point)
    if name not in found:
        known = [LOCAL, *sorted(found)]
        raise UsageError(f"no batch engine is named {name!r}{instead(name, known, 'installed')}")
    if len(found[name]) > 1:
        owners = [point.dist.name if point.dist else point.value for point in found[name]]
        raise PluginError(f"the batch engine {name!r} is offered by {listed(owners)}: remove all but one")
    with PluginGuard(f"batch engine {name!r}", PluginError):
        made = found[name][0].load()()
    if not isinstance(made, BatchEngine):
        raise PluginError(f"the batch engine {name!r} lacks `check` or `run`: it is {describe_type(made)}")
    return made


def describe_type(value: object) -> str:
    """Return the full name of a value's class."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


class LocalEngine:
    """Runs the records in this process."""

    def __init__(self, answers: AnswerCache | None = None) -> None:
        self._answers = answers

    async def check(self, job: BatchJob) -> None:
        """Raise UsageError for an option: there is none; whoever makes a job has loaded its pipeline."""
        for name in job.options:
            raise UsageError(f"the engine {LOCAL!r} has no option {name!r}, and no other one")

    async def run(self, job: BatchJob, control: BatchControl, hurry: asyncio.Event) -> None:
        """Run records until there are no more."""
        interceptor = BatchInterceptor(control)
        recording = recording_interceptor(job.record, job.replay)
        pipeline = Pipeline.load(
            job.pipeline,
            overrides=job.overrides,
            environment=os.environ if job.replay is None else replay_environment(os.environ),
            shared=SharedResources(programs=job.programs),
            interceptor=_chained(interceptor, recording),
            answers=self._answers if recording is None else None,  # a recording holds every request
        )
        if recording is None or recording.sends:
            interceptor.prices = await asyncio.to_thread(prices_of, pipeline.models)
        async with pipeline:
            runner = RecordRunner(pipeline, job.model, job.inputs, fresh=job.fresh)
            running: set[asyncio.Task[None]] = set()
            try:
                while (task := await control.next()) is not None:
                    one = asyncio.create_task(_run_one(runner, control, task))
                    running.add(one)
                    one.add_done_callback(lambda done: _note_end(done, running, control))
                await finish_or_hurry(running, hurry)
            finally:
                for one in running:
                    one.cancel()
                await asyncio.gather(*running, return_exceptions=True)


def _chained(batch: Interceptor, recording: Interceptor | None) -> Interceptor:
    """Return what requests go through; those that a recording answers are none, and are not taken down."""
    if recording is None:
        return batch
    return InterceptorChain(batch, recording) if recording.sends else recording


async def _run_one(runner: RecordRunner, control: BatchControl, task: BatchTask) -> None:
    result = None
    try:
        result = await runner.run(task)
    finally:
        if result is None:
            control.put_back(task)
    if result is not None:
        control.finish(task, result)


def _note_end(one: asyncio.Task[None], running: set[asyncio.Task[None]], control: BatchControl) -> None:
    """Stop the batch where something is wrong with the engine itself: no record would fare better."""
    running.discard(one)
    if not one.cancelled() and (error := one.exception()) is not None:
        control.stop("failure", describe_error(error))


async def finish_or_hurry(running: Sequence[asyncio.Task[Any]] | set[asyncio.Task[Any]], hurry: asyncio.Event) -> None:
    """Wait until all is done, or until there is no more time."""
    waiting = asyncio.ensure_future(hurry.wait())
    try:
        while running and not hurry.is_set():
            await asyncio.wait({*running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
