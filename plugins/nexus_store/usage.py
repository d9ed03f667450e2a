"""The sink `store`: sums up what models use, by day, in the store."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from nexus_core import (
    AttemptFinished,
    DailyUsage,
    Event,
    RunFailed,
    RunFinished,
    RunStarted,
    StoreBusyError,
    StoreFullError,
    component,
    option,
    state,
)
from nexus_core.toolkit import counted

if TYPE_CHECKING:
    from nexus_core import Store

_MOST_RUNS = 10_000
"""Of so many runs that have begun and not ended the pipeline is remembered."""
_MOST_ROWS = 1000
"""Wait to be written at most; what comes when the store has refused them for so long is summed up without names."""

_log = logging.getLogger(__name__)


@component
class StoreSink:
    """Sums up requests and tokens by day, pipeline, model and outcome in a store: `Store.usage()` returns them."""

    name = "store"

    path: str = option("", help="The store's folder; by default the one that NEXUS_STORE names, else the user's own.")
    keep_days: int = option(400, help="Days that are over for longer are dropped.", ge=1, le=36_500)
    _store: Store | None = state()
    _thread: ThreadPoolExecutor | None = state()
    _pipelines: dict[str, str] = state(dict)
    _waiting: dict[tuple[str, ...], DailyUsage] = state(dict)

    async def __aenter__(self) -> Self:
        """Open the store; one that is busy or full is tried again when there is something to write."""
        self._thread = ThreadPoolExecutor(1, "nexus-usage")
        try:
            self._store = await self._opened()
        except (StoreBusyError, StoreFullError) as error:
            _log.warning("the usage of models is not written yet: %s", error)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left, and close the store; what cannot be written is told in the log and harms no run."""
        try:
            if self._thread is not None:  # after whatever is still being written there, which may come back to wait
                await asyncio.get_running_loop().run_in_executor(self._thread, self._write_all)
        except Exception as error:  # noqa: BLE001 - whatever it is, no run has a part in it
            lost = sum(row.attempts for row in self._waiting.values())
            _log.warning("the usage of %s is lost: %s", counted(lost, "request"), error)
        finally:
            if self._store is not None:
                await self._store.__aexit__(None, None, None)
            if self._thread is not None:
                self._thread.shutdown(wait=False)
            self._store = self._thread = None
            self._waiting = {}

    def emit(self, event: Event) -> None:
        """Add a row of the ledger to what waits to be written; of other events only the pipeline's name is of use."""
        match event:
            case AttemptFinished():
                self._add(DailyUsage.of(self._pipelines.get(event.run_id, "(unknown)"), event))
            case RunStarted():
                if len(self._pipelines) >= _MOST_RUNS:
                    del self._pipelines[next(iter(self._pipelines))]
                self._pipelines[event.run_id] = event.pipeline
            case RunFinished() | RunFailed():
                self._pipelines.pop(event.run_id, None)

    def flush(self) -> None:
        """Write what waits, in one transaction; where that fails it waits on."""
        if self._thread is None:
            raise OSError("the sink `store` is not open")
        if self._waiting:  # in a thread of its own, since the one that calls may have an event loop that runs
            self._thread.submit(self._write_all).result()

    def _add(self, row: DailyUsage) -> None:
        if row.key not in self._waiting and len(self._waiting) >= _MOST_ROWS:
            row = row.without_names()
        known = self._waiting.get(row.key)
        self._waiting[row.key] = row if known is None else known + row

    async def _opened(self) -> Store:
        from nexus_core import Store  # as above

        return await Store(self.path or None).__aenter__()

    def _write_all(self) -> None:
        if self._waiting:
            asyncio.run(self._write())

    async def _write(self) -> None:
        if self._store is None:
            self._store = await self._opened()
        rows, self._waiting = self._waiting, {}
        try:
            await self._store.add_usage(tuple(rows.values()), keep_days=self.keep_days)
        except BaseException:
            for row in rows.values():
                self._add(row)
            raise
