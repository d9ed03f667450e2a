"""A model's service that holds back the rest of an answer until it is let go, as far as the question says."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict

from aiohttp import web

from nexus_core.testing.answers import DONE, delta, event, usage_chunk

PIECES = 198
"""Of an answer: with `start` and `end` these are 200 events."""
WHOLE = "".join(f"w{number} " for number in range(PIECES))
_HELD = re.compile(r"hold (\d+) after (\d+)")


def question(number: int, pieces: int) -> str:
    """Return a question whose answer number `number` is held back after so many pieces; with all, before its end."""
    return f"Is it so? hold {number} after {pieces}"


class HeldUpstream:
    """Answers on loopback, as OpenAI streams; an async context manager.

    The tokens of an answer's prompt are its number, so that sums tell if one is missing or there twice.
    """

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        """By the number of the answer."""
        self.running = self.most = 0
        """Answers that are under way now, and the most that ever were."""
        self._let_go: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def __aenter__(self) -> HeldUpstream:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def let_go(self, number: int) -> None:
        """Let the rest of an answer come."""
        self._let_go[number].set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        held = _HELD.search(await request.text())
        assert held is not None
        number, pieces = int(held[1]), int(held[2])
        self.requests[number] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            told = [event(delta(f"w{each} ")) for each in range(PIECES)]
            ends = [event(delta(finish_reason="stop")), event(usage_chunk(number, PIECES)), DONE]
            await response.write(event(delta("", role="assistant")) + b"".join(told[:pieces]))
            await self._let_go[number].wait()
            await response.write(b"".join([*told[pieces:], *ends]))
            return response
        finally:
            self.running -= 1
