"""Spend counter: what each key, owner and group uses, gathered for a moment and then added up in the store.

No run waits for a write. What a worker has gathered when it is killed, a second's worth, is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from nexus_core.contract.answers import AttemptFinished
from nexus_core.contract.errors import StoreError
from nexus_core.server.access.identity import Identity
from nexus_core.store.access.spend import DailySpend, SpendKind

GATHER_S = 1.0
"""So long rows are gathered, to be written together."""
_MOST_ROWS = 10_000
"""That wait where the store takes none; what comes then is not counted."""

_log = logging.getLogger(__name__)


class SpendCounter:
    """Counts for one process."""

    def __init__(self, write: Callable[[Sequence[DailySpend]], Coroutine[object, object, None]]) -> None:
        """Take what adds rows to the store."""
        self._write = write
        self._rows: dict[tuple[str, ...], DailySpend] = {}
        self._soon: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def note(self, who: Identity, row: AttemptFinished) -> None:
        """Count an attempt for a key, its owner and the groups they are in."""
        if not row.request_sent:
            return
        names: list[tuple[SpendKind, str]] = [("key", who.key_id), ("owner", who.owner)]
        for kind, name in [*names, *(("group", group) for group in who.groups)]:
            if name:
                self._add(DailySpend.of(kind, name, row))
        if self._soon is None or self._soon.done():
            self._soon = asyncio.get_running_loop().create_task(self._flush_soon())

    async def flush(self) -> None:
        """Write what was gathered; raises StoreError where the store takes nothing, and keeps it."""
        rows, self._rows = self._rows, {}
        if not rows:
            return
        try:
            # Whoever asks for it may leave: what is written then is not to be counted again.
            await asyncio.shield(self._write([*rows.values()]))
        except StoreError:
            for row in rows.values():
                self._add(row)
            raise

    async def close(self) -> None:
        """Write what was gathered, for the last time."""
        self._closing.set()
        if self._soon is not None:  # never cut: what is being written would be counted twice
            await self._soon
        try:
            await self.flush()
        except StoreError as error:
            _log.warning("what keys have used in the last moments is lost: %s", error)

    def _add(self, row: DailySpend) -> None:
        known = self._rows.get(row.key)
        if known is not None:
            self._rows[row.key] = known + row
        elif len(self._rows) < _MOST_ROWS:
            self._rows[row.key] = row

    async def _flush_soon(self) -> None:
        while self._rows:  # some may come while others are written
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._closing.wait()
            try:
                await self.flush()
            except StoreError as error:
                _log.warning("what keys use is not written yet: %s", error)
                return  # it waits for the next one
