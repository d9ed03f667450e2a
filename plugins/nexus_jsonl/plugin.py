"""The plugin `jsonl`: a source that reads items, and a sink that writes events, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable

from nexus_core import hookimpl
from nexus_jsonl.sink import JsonlSink
from nexus_jsonl.source import JsonlSource


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `jsonl`."""
    return [JsonlSource]


@hookimpl
def nexus_sinks() -> Iterable[type]:
    """Yield the sink `jsonl`."""
    return [JsonlSink]
