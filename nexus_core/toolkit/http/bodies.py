"""What every connector over HTTP needs: a safe session, timers, body caps, one map of errors, and text without secrets.

    async with open_session({"Authorization": f"Bearer {key.reveal()}"}) as session:
        with UpstreamErrors("acme", model, secrets=(key.reveal(),)) as errors:
            with total.block():  # total = TimeLimit(timeouts.total_s)
                response = await session.post(url, data=body, allow_redirects=False)
                ...

aiohttp is imported by the functions that need it, so that a plugin module may import this one at its top.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf, isfinite
from types import ModuleType
from typing import TYPE_CHECKING

from attrs import frozen

from nexus_core.contract.errors import ProtocolError, ResponseTooLargeError, StalledError, UpstreamTimeoutError
from nexus_core.contract.values import Transfer
from nexus_core.toolkit.http.size_limits import JSON_CAP, STREAM_CAP
from nexus_core.toolkit.suggest import counted

if TYPE_CHECKING:
    import aiohttp

ERROR_CAP = 64 * 2**10
"""Bytes that are read of the body of an error."""


@frozen(kw_only=True)
class Timeouts:
    """The timers of one attempt, in seconds."""

    connect_s: float = 10.0
    """Wait for a free connection, name lookup, TCP and TLS."""
    first_byte_s: float = 60.0
    """Streams: from the request, its sending included, to the head of the answer."""
    idle_s: float = 60.0
    """Streams: without any byte."""
    progress_s: float = 120.0
    """Streams: without content, however many keep-alive comments come."""
    total_s: float = 90.0
    """Whole answers."""
    stream_s: float = 600.0
    """Streams, in all."""


def open_session(
    headers: Mapping[str, str] | None = None,
    *,
    timeouts: Timeouts | None = None,
    connections: int = 100,
    trust_env: bool = False,
) -> aiohttp.ClientSession:
    """Return a session with safe defaults; needs a running loop, and the caller closes it.

    No cookies, no compression, no proxy or netrc of the environment, no timer but that for the connection: the others
    belong around the awaits of the caller. It connects to no address where no model service is (link-local, metadata).
    Redirects are followed by aiohttp unless each call says `allow_redirects=False`: always say so, since a redirect
    carries keys to another host.
    """
    connect_s = (timeouts or Timeouts()).connect_s
    session: aiohttp.ClientSession = _sessions().build(headers or {}, connect_s, connections, trust_env=trust_env)
    return session


def connect_timeout(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    """Return the timer of one request over a session that others use too, `timeout=` of the request."""
    timeout: aiohttp.ClientTimeout = _sessions().connect_timeout(timeouts.connect_s)
    return timeout


def _sessions() -> ModuleType:
    """Return the module of sessions, which brings aiohttp: 240 ms, for those who open one."""
    from nexus_core.toolkit.http import session

    return session


async def read_body(
    response: aiohttp.ClientResponse, cap: int = JSON_CAP, *, transfer: Transfer | None = None
) -> bytes:
    """Return the whole body; raises `ResponseTooLargeError` beyond `cap` bytes. Limit its time around the call."""
    if (response.content_length or 0) > cap:
        raise _too_large(cap)
    if response.content.is_eof():  # the usual case: it came with the head
        body = await response.content.readany()
        if len(body) > cap:
            raise _too_large(cap)
        if transfer is not None:
            transfer.bytes_received = len(body)
        return body
    pieces: list[bytes] = []
    reader = BodyReader(response, _NO_LIMITS, cap=cap, transfer=transfer)
    try:
        while piece := await reader.read():
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        reader.close()
        pieces.clear()  # an error's traceback keeps this frame


async def read_start(
    response: aiohttp.ClientResponse, cap: int = ERROR_CAP, *, transfer: Transfer | None = None
) -> bytes:
    """Return the body as far as it comes, `cap` bytes at most: for the bodies of errors, which are often broken."""
    pieces: list[bytes] = []
    reader = BodyReader(response, _NO_LIMITS, transfer=transfer)
    try:
        with suppress(Exception):  # the status has said already what matters
            while reader.received < cap and (piece := await reader.read()):
                pieces.append(piece)
    finally:
        reader.close()
    return b"".join(pieces)[:cap]


_NO_LIMITS = Timeouts(idle_s=inf, progress_s=inf, stream_s=inf)
_LOOK_S = 1.0
"""How often a reader that waits looks whether its connection is still there."""


class BodyReader:
    """Reads a streamed body piece by piece under an idle, a progress and a total limit, with one lazy timer for all.

    Call `advanced()` when a piece held content, and `close()` at the end, in every case. Only time spent waiting for
    the service counts as idle: a slow consumer stops no stream.
    """

    __slots__ = (
        "_advanced_at", "_begun_at", "_cap", "_content", "_handle", "_hurry_at", "_late", "_loop", "_moved",
        "_response", "_step_s", "_total_at", "_waiting_at", "timeouts", "transfer",
    )  # fmt: skip

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        timeouts: Timeouts,
        *,
        cap: int = STREAM_CAP,
        transfer: Transfer | None = None,
    ) -> None:
        self._response = response
        self._content = response.content
        self._cap = cap
        self._loop = asyncio.get_running_loop()
        self.timeouts = timeouts
        self.transfer = transfer or Transfer()
        """Its bytes are counted here."""
        self._begun_at = self._advanced_at = now = self._loop.time()
        self._total_at = now + timeouts.stream_s
        self._hurry_at = inf
        self._waiting_at: float | None = None
        self._moved = False
        self._late = False
        self._step_s = min(timeouts.idle_s, timeouts.progress_s, _LOOK_S)
        self._handle = self._loop.call_at(min(now + self._step_s, self._total_at), self._check)

    async def read(self) -> bytes:
        """Return what has come, `b""` at the end; raises a `StalledError`, `UpstreamTimeoutError` or for its size."""
        self._waiting_at = now = self._loop.time()
        if self._moved:
            self._moved = False
            self._advanced_at = now
        data = await self._content.readany()
        self._waiting_at = None
        self.transfer.bytes_received += len(data)
        if self.transfer.bytes_received > self._cap:
            raise _too_large(self._cap)
        return data

    @property
    def received(self) -> int:
        """Bytes so far."""
        return self.transfer.bytes_received

    def advanced(self) -> None:
        """Say that content came: the progress timer starts anew with the next read."""
        self._moved = True

    def hurry(self, seconds: float) -> None:
        """End the stream `seconds` from now at the latest."""
        self._hurry_at = min(self._hurry_at, self._loop.time() + seconds)
        self._handle.cancel()
        self._check()

    def relax(self) -> None:
        """Take back what `hurry` said: the stream goes on after all."""
        self._hurry_at = inf

    def close(self) -> None:
        """Stop the timers."""
        self._handle.cancel()

    def _check(self) -> None:
        now = self._loop.time()
        waiting_at = self._waiting_at
        limits = [(min(self._total_at, self._hurry_at), "stream", self.timeouts.stream_s)]
        if waiting_at is not None:
            limits.append((waiting_at + self.timeouts.idle_s, "idle", self.timeouts.idle_s))
            limits.append((self._advanced_at + self.timeouts.progress_s, "progress", self.timeouts.progress_s))
        due, timer, limit_s = min(limits)
        broken = waiting_at is not None and self._is_lost()
        if due > now and not broken:
            self._late = False
            self._handle = self._loop.call_at(min(due, now + self._step_s), self._check)
        elif not self._late:
            # A loop that was blocked runs its timers before it reads what came meanwhile: look once more after that.
            self._late = True
            self._handle = self._loop.call_later(0.01, self._check)
        else:
            self._content.set_exception(_broken() if broken else self._too_slow(timer, limit_s, now))

    def _is_lost(self) -> bool:
        # After a malformed chunk aiohttp (3.14) closes the connection and does not tell the reader, who waits for ever.
        connection = self._response.connection
        return connection is not None and (connection.protocol is None or not connection.protocol.is_connected())

    def _too_slow(self, timer: str, limit_s: float, now: float) -> UpstreamTimeoutError:
        what = {"idle": "no data", "progress": "no content", "stream": "the stream did not end"}[timer]
        events, size = counted(self.transfer.events, "event"), counted(self.received, "byte")
        come = f"{events}, {size} in {now - self._begun_at:.1f} s"
        return (UpstreamTimeoutError if timer == "stream" else StalledError)(
            f"{what} within {limit_s:g} s ({timer}_timeout_s); {come}",
            code=f"timeout_{'total' if timer == 'stream' else timer}",
        )


def _too_large(cap: int) -> ResponseTooLargeError:
    return ResponseTooLargeError(f"the answer is over {cap} bytes", code="response_too_large")


def _broken() -> ProtocolError:
    return ProtocolError("the body of the answer is not valid HTTP", code="http")


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the wait that a service asks for, in seconds: `retry-after-ms`, then `retry-after` (seconds or date).

    What is no positive, finite number or no date in the future is taken for absent. It may be days: the caller caps it.
    """
    text = headers.get("retry-after-ms", "").strip()
    wait = _number(text) / 1000
    if wait <= 0:
        text = headers.get("retry-after", "").strip()
        wait = _number(text) or _seconds_until(text, now or datetime.now(UTC))
    return wait if wait > 0 and isfinite(wait) else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return what a service says of sending the same again (`x-should-retry`), `None` where it says nothing clear."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", text, re.ASCII) else 0.0


def _seconds_until(text: str, now: datetime) -> float:
    if not text[:3].isalpha():
        return 0.0
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0.0
