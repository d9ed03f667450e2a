"""Lets requests that come together begin one after the other, so that the first is not as late as the last."""

from __future__ import annotations

import asyncio
from collections import deque

AT_ONCE = 4
"""How many begin in one pass of the event loop."""


class StartPacing:
    """Lets few requests begin in one pass of the event loop: first come, first served.

    Work that waits in between takes a pass for each of its steps. Where many requests begin in the same pass, none of
    their calls goes out before the work of all of them is done, and streams under way stand still as long. Let in a few
    at a time, the first has its call out while the others wait: half the time to the first chunk when 64 come together
    (`tests/bench/relay.py`).
    """

    __slots__ = ("_is_counting", "_left", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = AT_ONCE
        self._is_counting = False

    async def enter(self) -> None:
        """Return when it is this task's turn: at once where nobody else has come in the same moment."""
        loop = asyncio.get_running_loop()
        if not self._is_counting:
            self._is_counting = True
            loop.call_soon(self._let_in)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _let_in(self) -> None:
        """Begin a pass: the next of those who wait come in."""
        self._left = AT_ONCE
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # who has left meanwhile
                turn.set_result(None)
                self._left -= 1
        self._is_counting = self._left < AT_ONCE
        if self._is_counting:
            asyncio.get_running_loop().call_soon(self._let_in)
