"""The whole extension surface: six hooks that declare, synchronously and cheaply, which components a plugin offers.

A plugin is a module named in the entry-point group `contextnexus`; the entry point's name is what YAML says
(`use: acme`).

    from nexus_core import hookimpl

    @hookimpl
    def nexus_rankers():
        return [newest]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

import pluggy

PROJECT = "nexus"
ENTRY_POINT_GROUP = "contextnexus"
CONTRACTS_GROUP = "contextnexus.contracts"
"""The entry points that name, for a plugin, the module with the contract suites it is held to."""


def installed_entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of one of our groups; the metadata of all that is installed is read once for a path."""
    return [point for point in _entry_points(tuple(sys.path)) if point.group == group]


@lru_cache(maxsize=2)
def _entry_points(path: tuple[str, ...]) -> Sequence[EntryPoint]:
    # Others install hundreds, and nobody asks for theirs.
    found = entry_points()
    ours = [group for group in found.groups if group.partition(".")[0] == ENTRY_POINT_GROUP]
    return [point for group in ours for point in found.select(group=group)]


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


@hookspec
def nexus_tools() -> Iterable[type]:  # type: ignore[empty-body]
    """Yield tool classes, or functions made into one by `@tool`: what a model may call during a run."""
