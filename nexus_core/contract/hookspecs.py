"""The whole extension surface: five hooks that declare, synchronously and cheaply, which components a plugin offers.

A plugin is a module named in the entry-point group `contextnexus`; the entry point's name is what YAML says
(`use: acme`).

    from nexus_core import hookimpl

    @hookimpl
    def nexus_rankers():
        return [newest]
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

PROJECT = "nexus"
ENTRY_POINT_GROUP = "contextnexus"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def nexus_connectors() -> Iterable[type]:  # type: ignore[empty-body]
    """Yield connector classes: what sends a prompt to a model service."""


@hookspec
def nexus_rankers() -> Iterable[type]:  # type: ignore[empty-body]
    """Yield ranker classes, or functions made into one by `@ranker`."""


@hookspec
def nexus_templates() -> Iterable[type]:  # type: ignore[empty-body]
    """Yield template classes: what turns query, items and history into messages."""


@hookspec
def nexus_sinks() -> Iterable[type]:  # type: ignore[empty-body]
    """Yield sink classes: what receives the events of runs."""


@hookspec
def nexus_sources() -> Iterable[type]:  # type: ignore[empty-body]
    """Yield source classes: what yields the items of a context."""
