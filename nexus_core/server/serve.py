"""Runs a server until it is told to stop, and lets what has begun come to its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress

from aiohttp import web

from nexus_core.contract.errors import UsageError
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.application import build
from nexus_core.server.gate import Gate, Verify
from nexus_core.server.health import Health
from nexus_core.server.models import Models
from nexus_core.server.page.files import Page
from nexus_core.server.queries import Queries
from nexus_core.server.serving import Serving
from nexus_core.server.settings import Settings
from nexus_core.store.store import Store
from nexus_core.toolkit.http import TimeLimit


class Server:
    """A server that listens; an async context manager."""

    def __init__(
        self, pipelines: Mapping[str, Pipeline], store: Store, settings: Settings, *, verify: Verify | None = None
    ) -> None:
        self.settings = settings
        self.serving = Serving(pipelines, store)
        self.gate = Gate(settings.limits, verify=verify, loopback=_is_loopback(settings.host))
        self._slow = TimeLimit(settings.limits.write_s)
        self._runner: web.AppRunner | None = None
        self.port = settings.port
        """The port it listens on, once it does."""

    def application(self) -> web.Application:
        """Return the application with all routes."""
        parts = (
            Queries(self.serving, self.gate, self.settings, self._slow),
            Models(self.serving, self.settings),
            Health(self.serving, self.gate),
            Page(self.settings),
        )
        return build([route for part in parts for route in part.routes()], self.gate, self.settings)

    async def __aenter__(self) -> Server:
        """Open what is served, and listen."""
        await self.serving.__aenter__()
        limits = self.settings.limits
        self._runner = web.AppRunner(
            self.application(),
            handler_cancellation=True,
            keepalive_timeout=limits.header_s,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
        )
        try:
            await self._runner.setup()
            site = web.TCPSite(self._runner, self.settings.host, self.settings.port, backlog=1024)
            await site.start()
        except OSError as error:
            await self.__aexit__(None, None, None)
            raise UsageError(
                f"cannot listen on {self.settings.host}:{self.settings.port}: {error.strerror or error}; "
                "choose another --port"
            ) from error
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop to listen, let runs come to their end for a while, cut what is left, and close what is served."""
        self.gate.is_draining = True
        if self._runner is not None:
            for site in tuple(self._runner.sites):
                await site.stop()
            await self.gate.drained(self.settings.limits.drain_s)
            await self._runner.cleanup()
        self._slow.close()
        await self.serving.__aexit__(None, None, None)


async def serve(server: Server, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second signal cuts what is left at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    server_task = asyncio.current_task()

    def told() -> None:
        if stop.is_set() and server_task is not None:
            server_task.cancel()
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # on Windows
            loop.add_signal_handler(name, told)
    async with server:
        say(f"listening on http://{server.settings.host}:{server.port}")
        await stop.wait()
        say("stopping: what has begun may end; again to stop at once")


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
