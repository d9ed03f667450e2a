"""Keys that expire: of a command that prints one, or of a file that somebody else writes.

A key is fetched before the first request that needs it, never when a pipeline is loaded, and again shortly before it
expires; many requests wait for one run of the command. A key that the service refuses is dropped, so that the next
request has another one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from attrs import define, field

from nexus_core.contract.errors import NotConfiguredError
from nexus_core.toolkit.http.errors import foreign_text
from nexus_core.toolkit.services.printed_key import ExpiringKey, read_key
from nexus_core.toolkit.watched import SharedWork, WatchedFile

LIMIT_S = 30.0
"""How long a command may take."""
_LEAD_S = 60.0
"""How long before its end a key is fetched again, at most a tenth of its life."""
_AGAIN_S = 60.0
"""A key that is refused so soon after the one before it has not expired: another one would be refused as well."""
_FAILURE_S = 5.0
"""How long an error stands for those who ask next, so that a broken command does not run for each request."""
_LONGEST_OUTPUT = 64 * 2**10
_LONGEST_WORDS = 200

_log = logging.getLogger("nexus_core.keys")


@define(eq=False, repr=False)
class KeySource:
    """Gives the key that is valid now; it belongs to no event loop while nothing runs."""

    command: Sequence[str] = ()
    """Run without a shell."""
    file: str = ""
    """Read again when it changes; in place of a command."""
    limit_s: float = LIMIT_S
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    """Seconds since 1970, by which keys expire."""
    _kept: ExpiringKey | None = None
    _refused_at: float | None = None
    _lead_s: float = 0.0
    _failure: NotConfiguredError | None = None
    _failed_at: float = 0.0
    _work: SharedWork[ExpiringKey] = field(factory=SharedWork)
    _watched: WatchedFile[ExpiringKey] | None = None

    async def key(self) -> str:
        """Return the key; raises NotConfiguredError, in the words of a user, where there is none."""
        if self.file:
            return await self._of_file()
        kept = self._kept
        if kept is not None and not self._ends(kept):
            return kept.key
        if not self._work.running:
            if self._failure is not None and self.clock() - self._failed_at < _FAILURE_S:
                return self._despite(self._failure, kept)
            self._work.begin(self._fetch())
        try:
            return (await self._work.result()).key
        except NotConfiguredError as error:
            return self._despite(error, kept)

    async def renew(self, refused: str) -> bool:
        """Drop a key that the service refused (status 401); tell whether there is another one now."""
        if self.file:
            with suppress(NotConfiguredError):
                return await self.key() != refused
            return False
        if self._kept is not None and self._kept.key == refused:
            self._kept = None
            before, self._refused_at = self._refused_at, self.clock()
            if before is not None and self._refused_at - before < _AGAIN_S:
                return False
        with suppress(NotConfiguredError):
            return await self.key() != refused
        return False

    def _ends(self, kept: ExpiringKey) -> bool:
        return kept.expires_at is not None and self.now() >= kept.expires_at - self._lead_s

    def _despite(self, error: NotConfiguredError, kept: ExpiringKey | None) -> str:
        """Return the key at hand where it is still valid, else raise the error."""
        if kept is not None and kept is self._kept and not kept.expired(self.now()):
            _log.warning("a key is used until it expires, since there is no other: %s", error)
            return kept.key
        raise NotConfiguredError(str(error))

    async def _fetch(self) -> ExpiringKey:
        try:
            key = read_key(await self._work.stoppable(self._run()), "api_key_command", self.now())
            if key.expired(self.now()):
                raise NotConfiguredError("api_key_command printed a key that has expired: what does it keep?")
        except NotConfiguredError as error:
            self._failure, self._failed_at = error, self.clock()
            raise
        self._kept, self._failure = key, None
        self._lead_s = 0.0 if key.expires_at is None else min(_LEAD_S, (key.expires_at - self.now()) / 10)
        return key

    async def _run(self) -> str:
        name = os.path.basename(self.command[0])  # the arguments may hold what nobody else should read
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "cannot be run"
            raise NotConfiguredError(f"api_key_command: {name!r}: {reason}") from None
        is_read = False
        try:
            async with asyncio.timeout(self.limit_s):
                said, complained = await asyncio.gather(_read(process.stdout), _read(process.stderr))
                code, is_read = await process.wait(), True
        except TimeoutError:
            raise NotConfiguredError(f"api_key_command: {name!r} took longer than {self.limit_s:g} s") from None
        finally:
            if not is_read:  # with what it began, which may hold its pipes when it has ended itself
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
            # Now, since a loop that ends waits for no pipe.
            for number in (1, 2):
                if (pipe := process._transport.get_pipe_transport(number)) is not None:  # type: ignore[attr-defined]
                    pipe.close()
            await process.wait()
        if code:
            raise NotConfiguredError(
                f"api_key_command: {name!r} ended with exit code {code}" + _words(complained, said)
            )
        return said

    async def _of_file(self) -> str:
        if self._watched is None:
            self._watched = WatchedFile(self.file, self._read_file)
        try:
            return (await self._watched.value()).key
        except OSError as error:
            raise NotConfiguredError(f"api_key_file cannot be read: {error.strerror}: {self.file}") from None

    def _read_file(self) -> ExpiringKey:
        with open(self.file, "rb") as file:
            return read_key(file.read(_LONGEST_OUTPUT).decode(errors="replace"), "api_key_file", self.now())


async def _read(stream: asyncio.StreamReader | None) -> str:
    """Return the beginning of what comes, and read the rest, so that the command can end."""
    assert stream is not None
    start = b""
    while piece := await stream.read(2**16):
        start += piece[: _LONGEST_OUTPUT - len(start)]
    return start.decode(errors="replace")


def _words(complained: str, said: str) -> str:
    """Return the first line of what a command complained of, without what may be a key."""
    lines = [line for line in complained.splitlines() if line.strip()]
    if not lines:
        return ""
    shown = foreign_text(lines[0], secrets=re.findall(r"[^\s\"']{8,}", said), longest=_LONGEST_WORDS)
    return f": {shown}"


class KeyAuthorizer:
    """Gives each request the headers with the key that is valid now, and has another key fetched after a 401."""

    def __init__(self, source: KeySource, carry: Callable[[str], Mapping[str, str]]) -> None:
        self._source = source
        self._carry = carry
        self._used: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key, and the one before it, which requests under way still have."""
        return self._used

    async def headers(self, url: str, body: bytes) -> Mapping[str, str]:
        """Return the headers of a request; raises NotConfiguredError where there is no key."""
        key = await self._source.key()
        if key not in self._used:
            self._used = (key, *self._used[:1])
        return self._carry(key)

    async def renew(self, headers: Mapping[str, str]) -> bool:
        """Drop the key in the headers of a request that was refused; tell whether there is another one."""
        for key in self._used:
            if all(headers.get(name) == value for name, value in self._carry(key).items()):
                return await self._source.renew(key)
        return True  # the key is two renewals old
