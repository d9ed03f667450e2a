"""Deadlines and the clock: ends what is awaited when the time of its call, or its share of it, is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from attrs import frozen

from nexus_core.contract.errors import ConnectorError, DeadlineError, RunError, UpstreamTimeoutError
from nexus_core.contract.models import ModelInfo
from nexus_core.toolkit.timers import LimitedBlock, TimedBlock, Timer


@frozen(kw_only=True, eq=False, repr=False)
class Clock:
    """What tells the time and lets it pass."""

    now: Callable[[], float] = time.monotonic
    """Seconds since some moment; never goes back."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    wall: Callable[[], float] = time.time
    """Seconds since 1970, for records that people read."""


async def _skip(seconds: float) -> None:
    """Let others go on, in place of a pause."""
    await asyncio.sleep(0)


UNPAUSED = Clock(sleep=_skip)
"""For calls that send nothing: no service needs the time between two attempts."""


class Deadline(TimedBlock):
    """The end of one call's time, which begins at once. As a context manager it stands around awaits, also repeatedly.

    Around a `yield` it must not hold, since it would cancel the reader: there `task` is set to `None` before, and
    `resume` is called after.
    """

    __slots__ = ("_timer",)

    def __init__(self, timer: Timer, seconds: float, error: Callable[[], RunError]) -> None:
        super().__init__(error)
        self._timer = timer
        timer.begin(self, seconds)

    def resume(self) -> None:
        """Hold again; raises where the time is up meanwhile."""
        if self.expired:
            raise self._error()
        self.task = asyncio.current_task()

    def end(self) -> None:
        """Let go of the call, which holds its deadline: what refers to itself is freed late."""
        self._timer.end(self)
        self._error = _over


def _over() -> DeadlineError:
    return DeadlineError("the call is over")


SHARE_CODE = "deadline_share"
"""The code of an attempt that its share ended."""


class DeadlineShare(LimitedBlock):
    """An attempt's part of its call's time. As a context manager it stands around awaits, within the call's deadline.

    It lasts until the first content of a stream: then `drop` it, since what flows is not cut for a target that could
    not go on with it.
    """

    __slots__ = ()


def share_of(timer: Timer, seconds: float, whole_s: float, name: str, info: ModelInfo) -> DeadlineShare:
    """Return the share of an attempt at the model of that name, of the `whole_s` that its call may take."""

    def over() -> UpstreamTimeoutError:
        return UpstreamTimeoutError(
            f"{name!r} gave no answer within {seconds:.3g} s, its share of the call's {whole_s:.3g} s",
            provider=info.provider,
            model=info.id,
            code=SHARE_CODE,
        )

    return DeadlineShare(timer, seconds, over)


def is_share(error: RunError) -> bool:
    """Tell whether an attempt failed since its share was over."""
    return isinstance(error, ConnectorError) and error.code == SHARE_CODE
