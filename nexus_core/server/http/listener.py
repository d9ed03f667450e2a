"""Listener: accepts connections, and never more of them than the process has files for.

asyncio's own server accepts all that wait before the first of them is refused, and writes a traceback for each that the
system has no file for. This one stops to accept while too many are open: who comes then waits in the system's queue.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

EVERY_S = 60.0


class ThrottledLog:
    """Counts what happens, and writes one line about it: at once for the first, then at most one a minute."""

    def __init__(
        self, log: logging.Logger, text: str, *, every_s: float = EVERY_S, clock: Callable[[], float] = monotonic
    ) -> None:
        """Take the text of the line: `%d` in it is how often it happened since the last line, `%s` the last detail."""
        self._log = log
        self._text = text
        self._every_s = every_s
        self._clock = clock
        self._told_at: float | None = None
        self._untold = 0

    def note(self, detail: object) -> None:
        """Count one."""
        self._untold += 1
        now = self._clock()
        if self._told_at is None or now - self._told_at >= self._every_s:
            self._log.warning(self._text, self._untold, detail)
            self._told_at, self._untold = now, 0


BACKLOG = 1024
"""Connections that the system keeps until they are accepted."""
_LAST_HANDSHAKES_S = 1.0
"""To agree on keys, for those who do so when no more are accepted."""
HANDSHAKE_S = 10.0
"""To agree on keys; a connection counts from then on."""
_PAUSE_S = 0.5
"""Until it is tried again where the system has no more files."""

_log = logging.getLogger(__name__)


class ConnectionSlots:
    """Counts sockets from when they are accepted until they are closed: there are never more than `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._freed = asyncio.Event()

    async def take(self) -> ConnectionSlot:
        """Wait for a place and take it."""
        while self.taken >= self.most:
            self._freed.clear()
            await self._freed.wait()
        self.taken += 1
        return ConnectionSlot(self)

    def give_back(self) -> None:
        """Count one less; called by the slot."""
        self.taken -= 1
        self._freed.set()


class ConnectionSlot:
    """The place of one socket."""

    __slots__ = ("_slots",)

    def __init__(self, slots: ConnectionSlots) -> None:
        self._slots: ConnectionSlots | None = slots

    def free(self) -> None:
        """Give it back; once counts."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.give_back()


MakeProtocol = Callable[[ConnectionSlot], asyncio.Protocol]
"""Makes the protocol of a connection, which frees the slot when the connection is lost."""


class Listener:
    """Accepts from sockets that listen, until it is closed."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        make: MakeProtocol,
        slots: ConnectionSlots,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Begin to accept."""
        self._sockets = sockets
        self._make = make
        self._slots = slots
        self._tls = tls
        self._trouble = ThrottledLog(_log, "%d times no connection could be accepted (%s): raise `ulimit -n`")
        self._begun: set[asyncio.Task[None]] = set()
        self._accepting = [asyncio.create_task(self._accept(each)) for each in sockets]

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Accept no more; what has been accepted is handed on, what is open stays open."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            with suppress(OSError, ValueError, NotImplementedError):
                loop.remove_reader(each)
        await asyncio.sleep(0)  # a task that is cancelled with a connection at hand would lose it, still open
        for task in self._accepting:
            task.cancel()
        if self._begun:
            await asyncio.wait(self._begun, timeout=_LAST_HANDSHAKES_S)
        for task in self._begun:
            task.cancel()
        for each in self._sockets:
            each.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            slot = await self._slots.take()
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:
                slot.free()
                if not isinstance(error, ConnectionError):  # else it has left while it waited
                    # No file, no buffer or no memory: there may be some again in a moment.
                    self._trouble.note(error.strerror or type(error).__name__)
                    await asyncio.sleep(_PAUSE_S)
                continue
            task = loop.create_task(self._begin(accepted, slot))
            self._begun.add(task)
            task.add_done_callback(self._begun.discard)

    async def _begin(self, accepted: socket.socket, slot: ConnectionSlot) -> None:
        tls = self._tls
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make(slot),
                accepted,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_S if tls is not None else None,
            )
        except OSError as error:  # of the handshake for the most part: the client's affair
            _log.debug("a connection has ended before it began: %s", error)
            accepted.close()
            slot.free()
        except asyncio.CancelledError:
            accepted.close()
            slot.free()
            raise


async def bind(host: str, port: int, *, shared: bool) -> list[socket.socket]:
    """Return sockets that listen on all addresses of a host; `shared` lets other processes listen there, too."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    failed: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sockets.append(_bound(socket.socket(family, kind, protocol), address, shared=shared))
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                failed = error  # a name may stand for an address that this machine lacks, such as ::1
        if not sockets:
            raise failed or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def _bound(made: socket.socket, address: object, *, shared: bool) -> socket.socket:
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind(address)  # type: ignore[arg-type]
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made
