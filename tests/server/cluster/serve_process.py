"""`nexus serve` over a store, as a process that can be told to stop, killed and started again on its port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class ServeProcess:
    """One server, of one or several workers; it serves `asks.yaml` of its folder."""

    def __init__(self, folder: Path, url: str, name: str, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._command = [
            sys.executable, "-m", "nexus_core.cli.main", "serve", "asks.yaml", f"--port={self.port}", "--name", name,
            *options,
        ]  # fmt: skip
        self._workers = int(options[options.index("--workers") + 1]) if "--workers" in options else 1
        self._environment = {**os.environ, "NEXUS_STORE": url}
        self._begin()

    def _begin(self) -> None:
        self._before = len(self.log)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stderr=log, start_new_session=True
            )

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text("utf-8") if self._log.exists() else ""

    async def start(self) -> None:
        """Start it again, and wait until it listens."""
        self._begin()
        await self.listening()

    async def listening(self) -> None:
        """Wait until all workers listen."""
        async with asyncio.timeout(60):
            while self.log[self._before :].count("listening on") < self._workers:
                assert self.process.poll() is None, self.log
                await asyncio.sleep(0.02)

    async def ended(self) -> int:
        """Wait for its end, and return its exit code."""
        return await asyncio.to_thread(self.process.wait, 60)


@asynccontextmanager
async def two_processes(folder: Path, url: str, *options: str) -> AsyncIterator[tuple[ServeProcess, ServeProcess]]:
    """Run two servers over one store, each on its own port; both listen."""
    servers = ServeProcess(folder, url, "one", *options), ServeProcess(folder, url, "other", *options)
    try:
        for server in servers:
            await server.listening()
        yield servers
    finally:
        for _ in range(2):  # the second cuts what runs
            for server in servers:
                if server.process.poll() is None:
                    server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.1)
        for server in servers:
            await server.ended()
