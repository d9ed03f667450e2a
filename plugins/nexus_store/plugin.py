"""The plugin `store`: a source that searches a context at rest, and a sink that sums up what models use."""

from __future__ import annotations

from collections.abc import Iterable

from nexus_core import hookimpl
from nexus_store.source import StoreSource
from nexus_store.usage import StoreSink


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `store`."""
    return [StoreSource]


@hookimpl
def nexus_sinks() -> Iterable[type]:
    """Yield the sink `store`."""
    return [StoreSink]
