"""The other workers of one server: what is changed in one is changed in all, and figures are told of all together.

Each worker answers the others on a socket in a folder that only this user may enter; no client reaches it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from nexus_core.server.errors import Failure
from nexus_core.server.settings import WorkerSettings

Answer = Callable[[Any], Any]
"""Does what another worker asks, and returns what it is told; both are JSON."""
_ANSWERS_WITHIN_S = 5.0
_GONE = object()

_log = logging.getLogger(__name__)


class WorkerRpc:
    """The other workers, none where there is one process; an async context manager: open, it answers them."""

    def __init__(self, worker: WorkerSettings | None) -> None:
        self.worker = worker
        self._answers: dict[str, Answer] = {}
        self._opened = AsyncExitStack()

    def on(self, name: str, answer: Answer) -> None:
        """Say what is done when another worker asks for something by this name."""
        self._answers[name] = answer

    async def __aenter__(self) -> Self:
        """Listen."""
        if self.worker is not None:
            application = web.Application(client_max_size=2**24)
            application.router.add_post("/{name}", self._answer)
            runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.1)
            await runner.setup()
            self._opened.push_async_callback(runner.cleanup)
            await web.UnixSite(runner, self.worker.socket(self.worker.number)).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    async def ask(self, name: str, told: Any = None, *, needs_all: bool = True) -> Mapping[int, Any]:
        """Return what the other workers answer, by their numbers; raises Failure where one does not.

        Unless all are needed, one that has died and is yet to be started again is passed over.
        """
        worker = self.worker
        if worker is None:
            return {}
        others = [number for number in range(worker.count) if number != worker.number]
        try:
            found = await asyncio.gather(
                *(_request(worker.socket(number), name, told, needed=needs_all) for number in others)
            )
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            _log.warning("a worker does not answer the others: %s", type(error).__name__)
            raise Failure(
                503, "overloaded", "not all workers of the server answer: try again", {"Retry-After": "1"}
            ) from error
        return {number: each for number, each in zip(others, found, strict=True) if each is not _GONE}

    async def _answer(self, request: web.Request) -> web.Response:
        found: Any = self._answers[request.match_info["name"]]((await request.json())["told"])
        return web.json_response(await found if isinstance(found, Awaitable) else found)


async def _request(socket: str, name: str, told: Any, *, needed: bool) -> Any:
    timeout = aiohttp.ClientTimeout(total=_ANSWERS_WITHIN_S)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as session,
            session.post(f"http://worker/{name}", json={"told": told}, raise_for_status=True) as response,
        ):
            return await response.json()
    except aiohttp.ClientConnectorError as error:
        if needed or error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
            raise
        return _GONE
