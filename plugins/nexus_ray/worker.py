"""Batch worker: runs records on one machine of a cluster, as an asynchronous actor.

It sends no request that the driver has not allowed, since the driver writes it into the journal first.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from nexus_core import NexusError, Pipeline
from nexus_core.batch import BatchInterceptor, BatchTask, PipelineShipment, RecordRunner, RequestEnd, RequestUsage
from nexus_ray.messages import (
    AllowRequest,
    BeginRequest,
    EndRecord,
    EndRequest,
    StartRecord,
    StopBatch,
    ToDriver,
    ToWorker,
)
from nexus_ray.versions import compare_versions, installed_versions

_HASH_DIGITS = 12
TOGETHER_S = 0.001
"""What comes so soon after a message goes with it: a call of Ray costs about a millisecond of CPU."""


class Outbox:
    """What is to be sent to the driver, in order."""

    def __init__(self) -> None:
        self._messages: list[ToDriver] = []
        self._filled = asyncio.Event()

    def put(self, message: ToDriver) -> None:
        """Add a message."""
        self._messages.append(message)
        self._filled.set()

    async def collect(self) -> list[ToDriver]:
        """Return the messages as soon as there are some."""
        await self._filled.wait()
        await asyncio.sleep(TOGETHER_S)
        messages, self._messages = self._messages, []
        self._filled.clear()
        return messages


class DriverLedger:
    """The ledger of requests that the driver keeps, as the interceptor of a worker sees it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._tickets = count()
        self._waiting: dict[int, asyncio.Future[int | None]] = {}

    async def begin_request(
        self, position: int, model: str, method: str, most_tokens: int, most_cost: float | None
    ) -> int | None:
        """Return the number of a request that stands in the journal now; `None` where it may not be sent."""
        ticket = next(self._tickets)
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = answer
        self._outbox.put(BeginRequest(ticket, position, model, method, most_tokens, most_cost))
        return await answer

    def allow(self, message: AllowRequest) -> None:
        """Take the driver's answer; where nobody waits for it any more, the request was never sent."""
        answer = self._waiting.pop(message.ticket)
        if not answer.done():
            answer.set_result(message.number)
        elif message.number is not None:
            self.end_request(message.number, RequestEnd(usage=RequestUsage(state="refused")))

    def end_request(self, number: int, end: RequestEnd) -> None:
        """Tell the driver how a request ended."""
        self._outbox.put(EndRequest(number, end))

    def stop(self, why: str, message: str) -> None:
        """Tell the driver that no further record may begin."""
        self._outbox.put(StopBatch(why, message))


class BatchWorker:
    """Runs records; its methods are called by the driver alone."""

    def __init__(self) -> None:
        self._outbox = Outbox()
        self._ledger = DriverLedger(self._outbox)
        self._parts = AsyncExitStack()
        self._runner: RecordRunner | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def open(self, shipment: PipelineShipment, digest: str, shares: int) -> str:
        """Unpack and open the pipeline; returns what stands against it, or an empty text."""
        there = installed_versions(list(shipment.distributions))
        problems = compare_versions(platform.node(), shipment.distributions, there, shipment.plugins)
        if problems:
            return "; ".join(problems)
        try:
            if shipment.digest != digest:
                raise NexusError("the pipeline did not arrive as it was sent")
            prefix = f"nexus-{digest[:_HASH_DIGITS]}-"
            folder = self._parts.enter_context(TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True))
            interceptor = BatchInterceptor(self._ledger)
            interceptor.prices = shipment.prices
            pipeline = Pipeline.load(
                shipment.unpack(Path(folder)), overrides=shipment.overrides(shares), interceptor=interceptor
            )
            await self._parts.enter_async_context(pipeline)
        except (NexusError, OSError) as error:
            return f"the worker {platform.node()} cannot open the pipeline: {error}"
        self._runner = RecordRunner(pipeline, shipment.job.model, shipment.job.inputs)
        return ""

    async def deliver(self, messages: Sequence[ToWorker]) -> None:
        """Take messages of the driver."""
        for message in messages:
            match message:
                case StartRecord(task):
                    running = asyncio.create_task(self._run(task))
                    self._running.add(running)
                    running.add_done_callback(self._running.discard)
                case AllowRequest():
                    self._ledger.allow(message)

    async def collect(self) -> list[ToDriver]:
        """Return messages to the driver as soon as there are some."""
        return await self._outbox.collect()

    async def close(self) -> None:
        """Stop what is under way, and close the pipeline."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._parts.aclose()

    async def _run(self, task: BatchTask) -> None:
        result = None
        try:
            assert self._runner is not None
            result = await self._runner.run(task)
        finally:
            self._outbox.put(EndRecord(task.position, result))
