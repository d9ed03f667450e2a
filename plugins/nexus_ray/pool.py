"""Worker pool: starts the workers of a batch, gives out records to them, and replaces those that die.

Records of a dead worker are run again by another. One that was there at several deaths is run alone; if its worker
dies then, too, the record has failed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from nexus_core import NexusError
from nexus_core.batch import BatchControl, BatchTask, PipelineShipment, failure
from nexus_ray.link import WorkerLink
from nexus_ray.worker import BatchWorker

SUSPECT = 2
"""Deaths of its workers after which a record is run alone."""
MOST_DEATHS = 10
"""Deaths of workers in a row without any record that ends in between: then the batch stops."""
START_S = 120.0
"""In which one worker must have started."""
_TOGETHER_S = 30.0
"""So long the first records wait for the last worker."""
_CLOSE_S = 10.0


class WorkerPool:
    """The workers of one batch; an async context manager."""

    def __init__(self, ray: Any, shipment: PipelineShipment, control: BatchControl, size: int) -> None:
        self._ray = ray
        self._size = size
        self._control = control
        self._digest = shipment.digest
        self._shipment = ray.put(shipment)
        self._actors = ray.remote(BatchWorker).options(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")
        self._links: list[WorkerLink] = []
        self._supervisors: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._deaths = Counter[int]()
        self._fruitless = 0
        self._error: Exception | None = None
        self._hurry = False

    async def __aenter__(self) -> Self:
        """Start the workers; raises NexusError where one cannot run the pipeline, or none starts."""
        self._supervisors = [asyncio.create_task(self._supervise()) for _ in range(self._size)]
        try:
            for seconds, least in ((_TOGETHER_S, self._size), (START_S, 1)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        while len(self._links) < least and self._is_going():
                            await self._change()
            if self._error is not None:
                raise self._error
            if not self._links and self._is_going():
                raise NexusError(
                    f"no worker has started in {START_S + _TOGETHER_S:.0f} s: the cluster has no free CPU for one"
                )
        except BaseException:
            self._hurry = True
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the workers; what is under way is stopped."""
        await self._close()

    def hurry(self) -> None:
        """Wait for nothing any more."""
        self._hurry = True
        self._changed.set()

    async def give(self, task: BatchTask) -> None:
        """Let a worker run a record, as soon as there is one for it."""
        alone = self._deaths[task.position] >= SUSPECT
        while self._is_going():
            free = [link for link in self._links if not link.is_reserved and not (alone and link.tasks)]
            if free:
                min(free, key=lambda link: len(link.tasks)).give(task, alone=alone)
                return
            await self._change()
        self._control.put_back(task)

    async def finish(self) -> None:
        """Wait until no record is under way, or until there is no more time; raises what nobody has foreseen."""
        while not self._hurry and any(link.tasks for link in self._links):
            await self._change()
        if self._error is not None and not isinstance(self._error, NexusError):
            raise self._error

    def _is_going(self) -> bool:
        return self._error is None and self._control.stopped is None

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _note_change(self) -> None:
        self._fruitless = 0
        self._changed.set()

    async def _supervise(self) -> None:
        """Keep one worker alive."""
        try:
            while self._is_going():
                link = await self._start()
                if link is not None:
                    self._links.append(link)
                    self._changed.set()
                    await self._serve(link)
        except Exception as error:  # noqa: BLE001 - whoever waits for the workers raises it
            self._error = self._error or error
            self._control.stop("failure", str(error))
        finally:
            self._changed.set()

    async def _start(self) -> WorkerLink | None:
        actor = self._actors.remote()
        try:
            problem = await actor.open.remote(self._shipment, self._digest, self._size)
        except self._ray.exceptions.RayError as error:
            self._note_death(f"a worker cannot start: {error}")
            return None
        if problem:
            raise NexusError(problem)
        return WorkerLink(actor, self._control, self._note_change)

    async def _serve(self, link: WorkerLink) -> None:
        try:
            await link.serve()
        except Exception as error:
            self._links.remove(link)
            self._ray.kill(link.actor)  # one that cannot be reached must not go on
            was_alone = link.is_reserved
            for task in link.settle():
                self._redo(task, was_alone)
            if not isinstance(error, self._ray.exceptions.RayError):
                raise
            self._note_death(f"workers die: {str(error).strip().splitlines()[0]}")

    def _redo(self, task: BatchTask, was_alone: bool) -> None:
        self._deaths[task.position] += 1
        if was_alone:
            self._fruitless = 0
            self._control.finish(task, failure("worker_died", "the worker that ran it alone has died"))
        else:
            self._control.put_back(task, again=True)

    def _note_death(self, message: str) -> None:
        self._fruitless += 1
        self._changed.set()
        if self._fruitless >= MOST_DEATHS:
            raise NexusError(f"{MOST_DEATHS} workers in a row ended without an answer; {message}")

    async def _close(self) -> None:
        links = list(self._links)
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        for link in links:
            for task in link.settle():
                self._control.put_back(task)
        if not self._hurry:
            await asyncio.gather(*(self._close_worker(link) for link in links))
        for link in links:
            self._ray.kill(link.actor)

    async def _close_worker(self, link: WorkerLink) -> None:
        with suppress(TimeoutError, self._ray.exceptions.RayError):
            async with asyncio.timeout(_CLOSE_S):
                await link.actor.close.remote()
