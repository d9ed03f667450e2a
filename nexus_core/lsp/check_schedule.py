"""Check schedule: when which pipeline is checked again, and what its results mean for the diagnostics of each file.

A check begins when a document has rested for a moment, and under continued typing no later than `LONGEST_S` after the
first change that it is for. A change of what is being checked ends that check.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import define, field

from nexus_core.contract.errors import Problem
from nexus_core.lsp.analysis_thread import AnalysisThread
from nexus_core.lsp.documents import CheckToken, StaleCheckError
from nexus_core.lsp.service import CheckResult, LanguageService

REST_S = 0.1
LONGEST_S = 0.5

_log = logging.getLogger(__name__)


@define(eq=False, repr=False)
class CheckSchedule:
    """Checks pipelines in the analysis thread; `publish` is called with each file whose problems may have changed."""

    service: LanguageService
    thread: AnalysisThread
    publish: Callable[[str, tuple[Problem, ...], int | None], None]
    results: dict[str, CheckResult] = field(factory=dict)
    """By pipeline."""
    _first: dict[str, float] = field(factory=dict)
    """When the first change came that no check has begun for."""
    _timers: dict[str, asyncio.TimerHandle] = field(factory=dict)
    _running: dict[str, CheckToken] = field(factory=dict)
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    def touch(self, roots: Iterable[str], *, at_once: bool = False) -> None:
        """Let pipelines be checked again soon, and end the checks of them that are under way."""
        loop = asyncio.get_running_loop()
        for root in roots:
            first = self._first.setdefault(root, loop.time())
            if root in self._timers:
                self._timers.pop(root).cancel()
            if root in self._running:
                self._running[root].stale = True
            due = loop.time() if at_once else min(loop.time() + REST_S, first + LONGEST_S)
            self._timers[root] = loop.call_at(due, self._start, root)

    def depending_on(self, path: Path) -> list[str]:
        """Return the pipelines whose last check has read a file, or looked for it."""
        return [root for root, result in self.results.items() if path in result.reads]

    def forget(self, root: str) -> None:
        """Drop a pipeline: what is shown of it, and its checks."""
        if root in self._timers:
            self._timers.pop(root).cancel()
        self._first.pop(root, None)
        if root in self._running:
            self._running.pop(root).stale = True
        result = self.results.pop(root, None)
        self._publish(result.problems if result is not None else ())

    def _start(self, root: str) -> None:
        self._timers.pop(root, None)
        self._first.pop(root, None)
        token = self._running[root] = CheckToken()
        task = asyncio.ensure_future(self._check(root, token))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check(self, root: str, token: CheckToken) -> None:
        try:
            result = await self.thread.submit(lambda: self._checked(root, token))
        except StaleCheckError:
            return
        except Exception:  # noqa: BLE001 - a mistake of ours with one file leaves the server there for all others
            _log.exception("the check of %s failed", root)
            return
        if token.stale:
            return
        self._running.pop(root, None)
        before = self.results.get(root)
        self.results[root] = result
        self._publish({**(before.problems if before is not None else {}), **result.problems})

    def _checked(self, root: str, token: CheckToken) -> CheckResult:
        token.require()
        return self.service.check(root, token)

    def _publish(self, files: Iterable[str]) -> None:
        """Publish what all checks together have found in some files."""
        for file in files:
            found = dict.fromkeys(
                problem for result in self.results.values() for problem in result.problems.get(file, ())
            )
            version = self.results[file].version if file in self.results else None
            self.publish(file, tuple(found), version)
