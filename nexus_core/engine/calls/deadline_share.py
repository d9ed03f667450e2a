"""How long one attempt of a call may take, so that the targets after it have their time too."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from nexus_core.contract.errors import RunError
from nexus_core.engine.calls.deadline import Deadline, DeadlineWatch

SHARE_CODE = "deadline_share"
"""The code of an attempt that its share ended."""


class DeadlineShare:
    """An attempt's part of its call's time. As a context manager it stands around awaits, within the call's deadline.

    It lasts until the first content of a stream: then `drop` it, since what flows is not cut for a target that could
    not go on with it.
    """

    __slots__ = ("_deadline", "_error", "_seconds", "_watch")

    def __init__(self, watch: DeadlineWatch, seconds: float, error: Callable[[], RunError]) -> None:
        self._watch = watch
        self._seconds = seconds
        self._error = error
        self._deadline: Deadline | None = None

    def __enter__(self) -> None:
        self._deadline = self._watch.begin(self._seconds, self._error)
        self._deadline.__enter__()

    def drop(self) -> None:
        """Hold no longer."""
        if self._deadline is not None:
            self._deadline.task = None
            self._watch.end(self._deadline)
            self._deadline = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._deadline is None:
            return
        try:
            self._deadline.__exit__(kind, error, traceback)
        finally:
            self.drop()
