"""Approvals: before a tool changes something, a person is asked, where the caller of the run has given a way to ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from typing import Any

from attrs import evolve, field, frozen

from nexus_core.contract.errors import DeadlineError
from nexus_core.contract.run_context import ApprovalRequest, Approve
from nexus_core.contract.values import ToolCall, ToolDefinition
from nexus_core.engine.state import Scope


@frozen(kw_only=True, eq=False, repr=False)
class Approvals:
    """What is asked in one generate step."""

    approve: Approve
    timeout_s: float
    scope: Scope
    now: Callable[[], float]
    """The clock of the step, in seconds."""
    _spans: list[tuple[float, float]] = field(factory=list, init=False)
    """When there was somebody to wait for."""
    _begun: list[float] = field(factory=list, init=False)
    """Since when there is."""

    async def refusal(self, call: ToolCall, definition: ToolDefinition, arguments: Mapping[str, Any]) -> str:
        """Ask about a call, and return why it is not to be made; empty where the person agrees.

        Raises DeadlineError where the time of the run's caller is up, and what `approve` raises.
        """
        left_s = self.scope.left_s()
        seconds = self.timeout_s if left_s is None else min(self.timeout_s, left_s)
        request = ApprovalRequest(
            run_id=self.scope.run_id,
            id=self.scope.call_id(),
            name=call.name,
            description=definition.description,
            arguments=json.loads(json.dumps(arguments)),  # what is shown is not what the tool gets
            timeout_s=seconds,
        )
        try:
            async with asyncio.timeout(seconds) as limit:
                with self._counted():
                    agreed = await self.approve(request)
        except TimeoutError as error:
            if not limit.expired():
                raise
            if left_s is not None and seconds == left_s:
                raise DeadlineError("the caller's time is up: nobody has agreed to a call of a tool") from error
            return f"not called: it changes something, and nobody agreed within {self.timeout_s:g} s"
        return "" if agreed is True else "not called: it changes something, and the person who was asked refused"

    def during(self, limit: asyncio.Timeout, left_s: float | None) -> Scope:
        """Return the run for a call that is made, whose time limit stands still while a pipeline that it calls asks.

        The limit ends no later than the caller's time, of which `left_s` seconds are left.
        """
        loop = asyncio.get_running_loop()
        latest = inf if left_s is None else loop.time() + left_s
        waiting, rest = 0, 0.0

        async def ask(request: ApprovalRequest) -> bool:
            nonlocal waiting, rest
            if not waiting:
                rest = (limit.when() or 0.0) - loop.time()
                limit.reschedule(None if latest == inf else latest)
            waiting += 1
            try:
                with self._counted():
                    return await self.approve(request)
            finally:
                waiting -= 1
                if not waiting and not limit.expired():
                    limit.reschedule(min(latest, loop.time() + rest))

        return evolve(self.scope, approve=ask)

    def waited_s(self) -> float:
        """Return the seconds in which a person was waited for so far, each of them once."""
        total, until, now = 0.0, 0.0, self.now()
        for began, ended in sorted([*self._spans, *((began, now) for began in self._begun)]):
            total += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return total

    @contextmanager
    def _counted(self) -> Iterator[None]:
        began = self.now()
        self._begun.append(began)
        try:
            yield
        finally:
            self._begun.remove(began)
            self._spans.append((began, self.now()))
