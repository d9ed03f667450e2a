"""A line on the terminal for whatever takes longer than a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from nexus_core.cli.output.echo import one_line
from nexus_core.contract.answers import AttemptFinished, Event
from nexus_core.contract.events import Delta, PromptPacked, StepFinished, Waiting

PATIENCE_S = 1.0


class ProgressLine:
    """Shows what the run is doing on stderr, from the second it takes longer than one, until the answer begins.

    A timer thread and not a task: it must also show while a plugin keeps the event loop busy.
    """

    def __init__(self) -> None:
        self._text = "gathering items"
        self._lock = threading.Lock()
        self._status: Any = None
        self._styled: Callable[[str], Any] = str
        self._done = False
        self._timer = threading.Timer(PATIENCE_S, self._show) if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._timer:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def see(self, event: Event) -> None:
        """Follow the run; the first text of the answer ends the display."""
        match event:
            case Delta():
                self.stop()
            case StepFinished(verb=verb):
                self._say({"gather": "ranking", "rank": "packing the prompt"}.get(verb, "working"))
            case PromptPacked(model=model):
                self._say(f"waiting for {model}")
            case AttemptFinished(model=model, outcome=outcome) if outcome != "ok":
                self._say(f"{model} failed ({outcome})")
            case Waiting(model=model, why=why, wait_s=wait_s):
                self._say(f"{model} is asked in {wait_s:.1f} s ({why})")

    def _say(self, text: str) -> None:
        self._text = text
        with self._lock:  # `stop` may be called in another thread
            if self._status is not None:
                self._status.update(self._shown())

    def _shown(self) -> Any:
        """Return the text as it may be shown: names of models are neither commands to a terminal nor markup."""
        return self._styled(one_line(self._text))

    def _show(self) -> None:
        # Only a run that takes long pays for it.
        from rich.console import Console
        from rich.text import Text

        with self._lock:
            if not self._done:
                self._styled = Text
                self._status = Console(stderr=True).status(self._shown())
                self._status.start()

    def stop(self) -> None:
        """Take the line away, for good."""
        if self._timer:
            self._timer.cancel()
        with self._lock:
            self._done = True
            if self._status is not None:
                self._status.stop()
                self._status = None
