"""A bar on the terminal for an ingestion that takes longer than a moment."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType
from typing import Any, Self

from nexus_core.cli.output import one_line

PATIENCE_S = 0.5


class Counting:
    """Shows on stderr, where that is a terminal, how many documents are done."""

    def __init__(self, *, quiet: bool) -> None:
        self.done = 0
        self._shows = not quiet and sys.stderr.isatty()
        self._begun = monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def see(self, done: int, total: int, name: str) -> None:
        """Take note of progress."""
        self.done = done
        if not self._shows or monotonic() - self._begun < PATIENCE_S:
            return
        if self._bar is None:
            self._start()
        self._bar.update(self._task, completed=done, total=total, description=one_line(name[-40:]))

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start(self) -> None:
        # Only who waits in front of a terminal pays for it.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        name = TextColumn("{task.description}", markup=False)
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), name)
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task("", total=None)
