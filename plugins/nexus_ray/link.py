"""Worker link: one worker as the driver sees it, with the records that it was given and its requests under way.

What a worker reports goes to the one control of the batch. When it dies, its requests have unknown usage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from nexus_core import NexusError
from nexus_core.batch import BatchControl, BatchTask, RequestEnd, RequestUsage
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


class WorkerLink:
    """The driver's end of one worker."""

    def __init__(self, actor: Any, control: BatchControl, changed: Callable[[], None]) -> None:
        self.actor = actor
        self.tasks: dict[int, BatchTask] = {}
        """Given to it and not ended, by their positions."""
        self.is_reserved = False
        """It runs one record alone."""
        self._control = control
        self._changed = changed
        self._numbers: set[int] = set()
        self._letters: list[ToWorker] = []
        self._answers: set[asyncio.Task[None]] = set()
        self._is_over = False

    def give(self, task: BatchTask, *, alone: bool) -> None:
        """Let the worker run a record."""
        self.tasks[task.position] = task
        self.is_reserved = alone
        self._send(StartRecord(task))

    async def serve(self) -> None:
        """Take the worker's messages; ends with the error of Ray that says that the worker is dead."""
        while True:
            self._take(await self.actor.collect.remote())

    def settle(self) -> list[BatchTask]:
        """Note that nothing more is heard of it; returns the records that it has not ended."""
        self._is_over = True
        for number in self._numbers:
            self._control.end_request(number, RequestEnd(usage=RequestUsage(state="unknown")))
        self._numbers.clear()
        tasks = list(self.tasks.values())
        self.tasks.clear()
        return tasks

    def _take(self, messages: Sequence[ToDriver]) -> None:
        for message in messages:
            match message:
                case BeginRequest():
                    answer = asyncio.create_task(self._answer(message))
                    self._answers.add(answer)
                    answer.add_done_callback(self._answers.discard)
                case EndRequest(number, end):
                    self._numbers.discard(number)
                    self._control.end_request(number, end)
                case EndRecord(position, result):
                    task = self.tasks.pop(position)
                    self.is_reserved = self.is_reserved and bool(self.tasks)
                    if result is None:
                        self._control.put_back(task)
                    else:
                        self._control.finish(task, result)
                    self._changed()
                case StopBatch(why, text):
                    self._control.stop(why, text)

    async def _answer(self, message: BeginRequest) -> None:
        """Let a request go when it is in the journal; each on its own, since one may wait for the end of others."""
        self._send(AllowRequest(message.ticket, await self._begin(message)))

    async def _begin(self, message: BeginRequest) -> int | None:
        try:
            number = await self._control.begin_request(
                message.position, message.model, message.method, message.most_tokens, message.most_cost
            )
        except NexusError as error:  # the journal cannot be written: nothing may be sent
            self._control.stop("failure", str(error))
            return None
        if number is not None and self._is_over:  # nobody has heard that it may go
            self._control.end_request(number, RequestEnd(usage=RequestUsage(state="refused")))
            return None
        if number is not None:
            self._numbers.add(number)
        return number

    def _send(self, message: ToWorker) -> None:
        if not self._letters:
            asyncio.get_running_loop().call_soon(self._flush)
        self._letters.append(message)

    def _flush(self) -> None:
        letters, self._letters = self._letters, []
        if not self._is_over:
            self.actor.deliver.remote(letters)
