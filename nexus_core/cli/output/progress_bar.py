"""A bar on the terminal for an ingestion that takes longer than a moment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Self

from nexus_core.cli.output.echo import one_line

PATIENCE_S = 0.5


def pace(done: int, total: int, seconds: float) -> str:
    """Return how fast it goes and how long the rest will take at that rate, as in `35/s, 1:20 left`."""
    rate = done / seconds if seconds > 0 else 0.0
    if not rate:
        return "time left unknown"
    shown = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 0.1 else f"{rate * 60:.1f}/min"
    hours, rest = divmod(round(max(total - done, 0) / rate), 3600)
    minutes, left = divmod(rest, 60)
    return f"{shown}, {f'{hours}:{minutes:02}' if hours else minutes}:{left:02} left"


class IngestProgressBar:
    """Shows on stderr, where that is a terminal, how many documents are done."""

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = monotonic) -> None:
        self.done = 0
        self._shows = not quiet and sys.stderr.isatty()
        self._clock = clock
        self._begun = clock()
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
        if not self._shows or self._clock() - self._begun < PATIENCE_S:
            return
        if self._bar is None:
            self._start()
        told = pace(done, total, self._clock() - self._begun)
        self._bar.update(self._task, completed=done, total=total, pace=told, description=one_line(name[-40:]))

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start(self) -> None:
        # Only who waits in front of a terminal pays for it.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        told, name = (TextColumn(text, markup=False) for text in ("{task.fields[pace]}", "{task.description}"))
        columns = (BarColumn(bar_width=20), MofNCompleteColumn(), told, name)
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task("", total=None, pace="")
