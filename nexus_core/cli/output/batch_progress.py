"""Progress of a batch on stderr: a bar with figures on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import threading
from time import monotonic
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from nexus_core.batch.control import BatchControl
from nexus_core.batch.journal import BatchTotals
from nexus_core.cli.output.echo import echo
from nexus_core.toolkit.suggest import counted

_BAR_S = 0.25
_LINE_S = 60.0


def figures_in_words(totals: BatchTotals) -> str:
    """Return the figures of a batch in words."""
    parts = [f"{totals.done:,} of {totals.records:,} answered"]
    if totals.failed:
        parts.append(f"{totals.failed:,} failed")
    parts.append(counted(totals.requests, "request"))
    if totals.repeated:
        parts.append(f"{totals.repeated:,} of them again")
    parts.append(counted(totals.tokens, "token"))
    if totals.unknown_tokens:
        parts.append(f"and at most {totals.unknown_tokens:,} more that nobody told")
    more = "" if not totals.unknown_cost else f" and at most ${totals.unknown_cost:,.4f} more"
    parts.append(money(totals.cost) + more)
    return ", ".join(parts)


def money(cost: float | None) -> str:
    """Return a cost in words."""
    return "cost unknown" if cost is None else f"${cost:,.4f}"


class BatchProgress:
    """Shows how far a batch is, from a thread of its own; a context manager."""

    def __init__(self, control: BatchControl) -> None:
        self._control = control
        self._begun = monotonic()
        self._first = control.totals
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, name="nexus-batch-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(1.0)

    def _show(self) -> None:
        if not sys.stderr.isatty():
            while not self._ended.wait(_LINE_S):
                echo(f"{figures_in_words(self._control.totals)}, {self._figures()}", err=True)
            return
        columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            shown = bar.add_task("", total=self._first.records, figures="")
            while True:
                ended = self._ended.wait(_BAR_S)
                totals: Any = self._control.totals
                bar.update(shown, completed=totals.done + totals.failed, figures=self._figures())
                if ended:
                    return

    def _figures(self) -> str:
        totals, control = self._control.totals, self._control
        finished = totals.done + totals.failed - self._first.done - self._first.failed
        rate = finished / max(monotonic() - self._begun, 1e-3)
        left = f"{_duration(totals.pending / rate)} left" if rate else "-"
        failed = f"{totals.failed:,} failed, " if totals.failed else ""
        return (
            f"{failed}{rate:,.1f}/s, {counted(totals.tokens, 'token')}, {money(totals.cost)}, {left}, "
            f"{control.concurrency.in_flight} at once"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
