"""Approvals of a run on a server: its stream asks, its owner answers at any server, and the store knows what holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import time
from typing import Protocol

from attrs import field, frozen

from nexus_core.contract.errors import NexusError
from nexus_core.contract.run_context import ApprovalRequest
from nexus_core.server.runs.live_run import LiveRun
from nexus_core.store.access.approvals import StoredApprovals

_DECIDED_S = 1.0
"""So long before the engine gives up, this does: an answer that has come in time is never refused after all."""

_log = logging.getLogger(__name__)


class ApprovalEvents(Protocol):
    """Writes what readers are told of approvals."""

    def approval(self, asked: ApprovalRequest, expires: float) -> Sequence[bytes]:
        """Return the events that ask; `expires` is in seconds since the epoch."""

    def decision(self, call_id: str, *, approved: bool, expired: bool) -> Sequence[bytes]:
        """Return the events that say what was decided, or that nobody has answered in time."""


@frozen(kw_only=True, eq=False)
class RunApprovals:
    """Asks the owner of one run, by its stream."""

    run: LiveRun
    kept: Callable[[], StoredApprovals]
    events: ApprovalEvents
    _telling: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    """Held while an event is sent: several calls may be asked about at once."""

    async def ask(self, asked: ApprovalRequest) -> bool:
        """Return whether the owner agrees. Where nothing can be kept nobody can answer, which is a refusal."""
        if self.run.journal is None:
            _log.warning("run %s: nobody can be asked about tools, since the store may only be read", self.run.id)
            return False
        try:
            return await self._ask(asked)
        except NexusError as error:
            _log.warning("run %s: nobody could be asked about a tool: %s", self.run.id, error)
            return False

    async def _ask(self, asked: ApprovalRequest) -> bool:
        loop, seconds = asyncio.get_running_loop(), max(asked.timeout_s - _DECIDED_S, asked.timeout_s / 2)
        ends, expires = loop.time() + seconds, time() + seconds
        await self.run.is_kept.wait()
        answer: asyncio.Future[bool] = loop.create_future()
        self.run.waiting[asked.id] = answer
        expired = False
        try:
            async with self._telling:
                await self.kept().add(self.run.id, asked.id)
                await self.run.emit(self.events.approval(asked, expires))
            async with asyncio.timeout_at(ends):
                approved = await answer
        except TimeoutError:
            holds = await self.kept().decide(self.run.id, asked.id, approved=False)
            approved, expired = holds is True, not holds
        finally:
            del self.run.waiting[asked.id]
        async with self._telling:
            await self.run.emit(self.events.decision(asked.id, approved=approved, expired=expired))
        return approved


def settle(run: LiveRun | None, call_id: str, *, approved: bool) -> None:
    """Let a run go on that waits for a decision; one that does not wait for it has it already."""
    answer = None if run is None else run.waiting.get(call_id)
    if answer is not None and not answer.done():
        answer.set_result(approved)
