"""The screen of `nexus serve`: what is served, where, to whom, and how to stop it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import line, plain
from nexus_core.server.server import Server
from nexus_core.store.records import Context
from nexus_core.toolkit.suggest import counted

SHOWN = 8
"""Pipelines and contexts that are named."""
_WIDTH = 11


async def show_server(server: Server, files: Mapping[str, Path]) -> None:
    """Print the screen of a server that listens; `files` has the file of each pipeline by its name."""
    contexts = await server.serving.store.contexts()
    echo("\n".join(screen(server, files, contexts, keys=await _keys(server))))


def screen(server: Server, files: Mapping[str, Path], contexts: Sequence[Context], *, keys: str) -> list[str]:
    """Return the lines of the screen."""
    default = server.serving.default
    pipelines = [
        f"{plain(name)}{' *' * (name == default and len(files) > 1)}  "
        + line(pipeline.description or str(files.get(name, "")), 90)
        for name, pipeline in server.serving.pipelines.items()
    ]
    by_size = sorted(contexts, key=lambda each: -each.items)
    return [
        "",
        f"ContextNexus {version('contextnexus')} is served at {server.settings.public_url or server.origin}",
        "",
        _row("page", [f"{server.origin}/  to ask in a browser"]),
        _row("API", [f"{server.origin}/docs  OpenAI's protocol at {server.origin}/v1"]),
        _row("pipelines", _first(pipelines, "pipeline")),
        _row(
            "contexts",
            _first([f"{plain(each.name)}  {counted(each.items, 'item')}" for each in by_size], "context")
            or ["none yet: nexus context add NAME PATH"],
        ),
        _row("keys", [keys]),
        _row("stop", ["Ctrl-C: what has begun may end; again to stop at once"]),
        "",
    ]


def _first(names: list[str], noun: str) -> list[str]:
    more = len(names) - SHOWN
    return names if more <= 0 else [*names[:SHOWN], f"and {counted(more, noun)} more"]


def _row(name: str, told: Sequence[str]) -> str:
    return f"  {name:<{_WIDTH}}" + f"\n  {'':<{_WIDTH}}".join(told)


async def _keys(server: Server) -> str:
    """Return who may ask."""
    if server.sign_in is not None:
        return "people sign in; programs send a token, or a key of nexus keys"
    if server.keys is None or await server.keys.has_keys():
        return "needed: nexus keys list"
    return "none: whoever uses this machine may ask, and nobody else; nexus keys new --owner NAME makes one"
