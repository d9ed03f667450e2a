"""A fault proxy: TCP on loopback between a client and any upstream, with faults that come and go while it runs.

    async with ScriptedUpstream(...) as upstream, FaultProxy(upstream.port, Latency(0.05, jitter_s=0.02)) as proxy:
        connector = MyConnector(base_url=f"{proxy.origin}/v1")
        ...
        proxy.add(ResetPeer())

The kinds of fault are those of Toxiproxy (Shopify, MIT licence). All chance comes from one seed, so a run can be
repeated. A fault acts on what goes to the client, or with `upstream=True` on what goes to the upstream.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Iterable, Iterator
from random import Random
from types import TracebackType
from typing import Any, TypeVar

from attrs import define, field, frozen

from nexus_core.testing.upstream import reset

_PIECE = 2**16
_HELD = 64
"""Pieces that are on their way at once, in each direction of a connection."""


@frozen(kw_only=True)
class Toxic:
    """A fault; each of the kinds below is one."""

    upstream: bool = False
    """Acts on the way to the upstream instead of the way to the client."""


@frozen
class Latency(Toxic):
    """Holds every piece for a time, more or less `jitter_s`; pieces do not overtake each other."""

    seconds: float
    jitter_s: float = 0.0


@frozen
class Bandwidth(Toxic):
    """Lets only so many bytes a second pass."""

    bytes_per_s: float


@frozen
class SlowClose(Toxic):
    """Passes on the end of a connection only after a time."""

    seconds: float


@frozen
class Timeout(Toxic):
    """Lets nothing pass, and what comes is lost; closes the connection so long after something came, never with 0."""

    seconds: float = 0.0


@frozen
class ResetPeer(Toxic):
    """Resets the connection when something comes, after a time."""

    seconds: float = 0.0


@frozen
class Slicer(Toxic):
    """Cuts what comes into pieces of about `size` bytes, more or less `variation`, with a pause after each."""

    size: int
    variation: int = 0
    pause_s: float = 0.0


@frozen
class LimitData(Toxic):
    """Closes the connection after so many bytes."""

    bytes: int


@frozen
class Down(Toxic):
    """Takes no connection and drops those that there are, as a service that is not running."""


_Kind = TypeVar("_Kind", bound=Toxic)


class _Dropped(Exception):
    """A fault ends the connection."""

    def __init__(self, *, by_reset: bool) -> None:
        self.by_reset = by_reset
        super().__init__()


@define(eq=False)
class _Way:
    """One direction of one connection."""

    upstream: bool
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    chance: Random
    passed: int = 0
    """Bytes so far."""
    due: float = 0.0
    """When the last piece may go on: none overtakes it."""
    held: asyncio.Queue[tuple[float, bytes]] = field(factory=lambda: asyncio.Queue(_HELD))


class FaultProxy:
    """Passes bytes between clients and `upstream_port` on 127.0.0.1; an async context manager."""

    def __init__(self, upstream_port: int, *toxics: Toxic, seed: int = 0) -> None:
        self.connections = 0
        """How many connections have been made."""
        self._upstream_port = upstream_port
        self._toxics = list(toxics)
        self._seed = seed
        self._port = 0
        self._listening: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> str:
        """The address for clients, without a path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The address for clients, up to /v1."""
        return f"{self.origin}/v1"

    @property
    def toxics(self) -> tuple[Toxic, ...]:
        """The faults that act now."""
        return tuple(self._toxics)

    def add(self, toxic: Toxic) -> None:
        """Let a fault act from now on, also on connections that are open."""
        self._toxics.append(toxic)
        self._listen_or_not()

    def remove(self, toxic: Toxic) -> None:
        """Take a fault away; ValueError where it does not act."""
        self._toxics.remove(toxic)
        self._listen_or_not()

    async def __aenter__(self) -> FaultProxy:
        """Begin to listen, unless it is down."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._listen_or_not()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drop every connection and stop listening."""
        self._drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _listen_or_not(self) -> None:
        if any(isinstance(toxic, Down) for toxic in self._toxics):
            self._drop()
        elif self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self._port), backlog=1024)
            self._listening.setblocking(False)
            self._start(self._listen(self._listening))

    def _drop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._listening is not None:
            # Closed now and not by the task that accepts, so that the next connection is refused already.
            asyncio.get_running_loop().remove_reader(self._listening.fileno())
            self._listening.close()
            self._listening = None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listening)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does so only for its own sockets
            self._start(self._connect(client, self.connections))
            self.connections += 1

    async def _connect(self, client: socket.socket, number: int) -> None:
        reader, writer = await asyncio.open_connection(sock=client)
        writers = [writer]
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            writers.append(there_writer)
            there = _Way(True, reader, there_writer, Random(f"{self._seed}/{number}/up"))
            back = _Way(False, there_reader, writer, Random(f"{self._seed}/{number}/down"))
            await _all_of(step(way) for way in (there, back) for step in (self._receive, self._send))
        except (_Dropped, OSError) as error:
            if not isinstance(error, _Dropped) or error.by_reset:
                for each in writers:
                    reset(each)
        except asyncio.CancelledError:
            for each in writers:
                each.transport.abort()
            raise
        finally:
            for each in writers:
                each.close()

    async def _receive(self, way: _Way) -> None:
        while data := await way.reader.read(_PIECE):
            for piece in self._cut(data, way):
                await way.held.put((self._due(way), piece))
        await way.held.put((self._due(way), b""))

    async def _send(self, way: _Way) -> None:
        while True:
            due, piece = await way.held.get()
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            if timeout := self._acting(Timeout, way):
                await _hang(timeout, forever=not piece)
            elif not piece:
                break
            else:
                await self._pass(piece, way)
        if slow := self._acting(SlowClose, way):
            await asyncio.sleep(slow.seconds)
        way.writer.write_eof()

    async def _pass(self, piece: bytes, way: _Way) -> None:
        if peer := self._acting(ResetPeer, way):
            await asyncio.sleep(peer.seconds)
            raise _Dropped(by_reset=True)
        limit = self._acting(LimitData, way)
        if limit is not None:
            piece = piece[: max(0, limit.bytes - way.passed)]
        if bandwidth := self._acting(Bandwidth, way):
            await asyncio.sleep(len(piece) / bandwidth.bytes_per_s)
        way.writer.write(piece)
        way.passed += len(piece)
        await way.writer.drain()
        if limit is not None and way.passed >= limit.bytes:
            raise _Dropped(by_reset=False)
        if slicer := self._acting(Slicer, way):
            await asyncio.sleep(slicer.pause_s)

    def _due(self, way: _Way) -> float:
        now = asyncio.get_running_loop().time()
        if latency := self._acting(Latency, way):
            now += max(0.0, latency.seconds + way.chance.uniform(-latency.jitter_s, latency.jitter_s))
        way.due = max(way.due, now)
        return way.due

    def _cut(self, data: bytes, way: _Way) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            size = len(data)
            if slicer := self._acting(Slicer, way):
                size = max(1, slicer.size + way.chance.randint(-slicer.variation, slicer.variation))
            if bandwidth := self._acting(Bandwidth, way):
                size = min(size, max(1, int(bandwidth.bytes_per_s / 20)))  # every 50 ms, not all at the end
            yield data[at : at + size]
            at += size

    def _acting(self, kind: type[_Kind], way: _Way) -> _Kind | None:
        """Return the fault of a kind that acts on a way; of several the last one added."""
        for toxic in reversed(self._toxics):
            if isinstance(toxic, kind) and toxic.upstream == way.upstream:
                return toxic
        return None


async def _hang(toxic: Timeout, *, forever: bool) -> None:
    """Let what came be lost; end the connection, or hold its end back for ever."""
    if toxic.seconds:
        await asyncio.sleep(toxic.seconds)
        raise _Dropped(by_reset=False)
    if forever:
        await asyncio.Event().wait()


async def _all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all, or for the first that fails; none is left running."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
