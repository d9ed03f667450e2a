"""The steps of a script: what an upstream does after a request, one thing after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from attrs import define, field, frozen


@define
class Gate:
    """Waits until the test calls `open()`; `reached` tells the test that the script has come here."""

    reached: asyncio.Event = field(factory=asyncio.Event, init=False)
    opened: asyncio.Event = field(factory=asyncio.Event, init=False)

    def open(self) -> None:
        """Let the script go on."""
        self.opened.set()


@frozen
class Pause:
    """Waits for a time, a tiny one: prefer a `Gate`."""

    seconds: float = 0.0


@frozen
class Silence:
    """Says nothing more until the client goes away."""


@frozen
class HalfClose:
    """Sends FIN and goes on reading."""


@frozen
class Reset:
    """Closes with RST: what was sent and not yet read by the client may be lost."""


@frozen
class Repeat:
    """Writes the same bytes again and again, until the client goes away or `times` is reached."""

    data: bytes
    times: int | None = None


Step = bytes | Gate | Pause | Silence | HalfClose | Reset | Repeat
Script = Sequence[Step]
