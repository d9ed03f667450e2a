"""Components that hold resources are opened once, at first use, and closed together."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from nexus_core.engine.plugin_guard import describe_own, is_own, watch_task
from nexus_core.toolkit.shared_resources import SharedResources

_log = logging.getLogger(__name__)


class ComponentLifecycle:
    """Opens components, each once, and closes them in reverse order."""

    def __init__(self, shared: SharedResources | None = None) -> None:
        self.shared = shared if shared is not None else SharedResources()
        """What the components use together; given by whoever runs several pipelines in one process."""
        self._stack = AsyncExitStack()
        self._open: set[int] = set()
        self._locks: dict[int, asyncio.Lock] = {}

    def is_open(self, component: Any) -> bool:
        """Tell whether a component needs no opening any more."""
        return id(component) in self._open

    async def open(self, component: Any) -> None:
        """Enter a component if it is an async context manager and not open yet; raises what its `__aenter__` raises."""
        key = id(component)
        if key in self._open:
            return
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._open:
                if isinstance(component, AbstractAsyncContextManager):
                    await component.__aenter__()
                    self._stack.push_async_callback(_close, component)
                self._open.add(key)

    async def close(self) -> None:
        """Close whatever is open; afterwards everything can be opened again."""
        self._open.clear()
        self._locks.clear()
        await self._stack.aclose()


async def _close(component: Any) -> None:
    """Close a component; one that fails then takes nothing back, and costs neither the answer nor the others."""
    watch_task()
    try:
        await component.__aexit__(None, None, None)
    except BaseException as error:
        if not is_own(error):
            raise
        _log.warning("%s failed as it was closed: %s", type(component).__name__, describe_own(error))
