"""The time that attempts live by, in one value, so that a test can bring its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from attrs import frozen


@frozen(kw_only=True, eq=False, repr=False)
class Clock:
    """What tells the time and lets it pass."""

    now: Callable[[], float] = time.monotonic
    """Seconds since some moment; never goes back."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    wall: Callable[[], float] = time.time
    """Seconds since 1970, for records that people read."""
