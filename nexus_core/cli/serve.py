"""`nexus serve`: pipelines over HTTP."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.chosen import store_option
from nexus_core.cli.usual import KEY, PIPELINE, answering, has_key, ranking
from nexus_core.contract.errors import UsageError
from nexus_core.server.reloading import Reloading
from nexus_core.server.serve import Server, serve
from nexus_core.server.serving import load, load_all, pipeline_files
from nexus_core.server.settings import Settings
from nexus_core.server.workers import run_workers
from nexus_core.store.store import Store
from nexus_core.toolkit.shared import Shared

EPILOG = """\b
Examples:
  nexus serve
  nexus serve pipelines/handbook.yaml --port 8080
  nexus serve pipelines/ --prefix /ask/v1 --reload
  nexus serve --host 0.0.0.0 --i-terminate-tls-elsewhere
"""
DEFAULT = "pipelines"


@click.command("serve", epilog=EPILOG)
@click.argument("pipelines", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; others need keys.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--prefix", default="/api", show_default=True, help="What the addresses of the query API begin with.")
@click.option("--reload", "reloads", is_flag=True, help="Take pipelines anew when their files change.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes on the one port.")
@click.option("--certificate", default="", metavar="FILE", help="The chain of TLS certificates: HTTPS is spoken.")
@click.option("--private-key", default="", metavar="FILE", help="The key of the certificate.")
@click.option(
    "--i-terminate-tls-elsewhere", "tls_elsewhere", is_flag=True, help="A proxy in front speaks TLS with clients."
)
@click.option("--share-port", is_flag=True, hidden=True, help="What a worker is told.")
@store_option
def command(pipelines: Sequence[str], prefix: str, reloads: bool, workers: int, **given: Any) -> None:
    """Serve PIPELINES, YAML files or folders of them, by default the folder `pipelines`.

    Where that is not there, the pipeline of `nexus ask` is served, over every context of the store.

    All are checked first: where any has a problem, nothing is served. Without keys (`nexus keys new`) this machine
    alone is served. With several workers the limits hold for each of them.
    """
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise UsageError(f"the prefix {prefix!r} must begin with a slash and not end with one, as in /api")
    settings = Settings(prefix=prefix, **given)
    paths, overrides = _chosen(pipelines)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if workers > 1:
        if not settings.port:
            raise UsageError("several workers listen on one port: name it with --port")
        load_all(pipeline_files(paths), Store(), Shared(), overrides=overrides)
        sys.exit(run_workers(workers, [sys.executable, "-m", "nexus_core.cli.main", *_as_worker(sys.argv[1:])]))
    asyncio.run(_serve(paths, overrides, settings, reloads=reloads))


def _chosen(named: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the files and folders that are served, and what is overridden in them."""
    if named or Path(DEFAULT).exists():
        return named or (DEFAULT,), ()
    who = f"a model of OpenAI answers ({KEY} is set)" if has_key() else f"it quotes, offline ({KEY} is not set)"
    _say(f"there is no folder {DEFAULT} here, so the pipeline of `nexus ask` is served: {who}")
    return (str(PIPELINE),), (*ranking(), *answering())


def _as_worker(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of one of several workers: the last --workers holds."""
    return [*arguments, "--workers", "1", "--share-port"]


async def _serve(paths: Sequence[str], overrides: Sequence[str], settings: Settings, *, reloads: bool) -> None:
    store, shared = Store(), Shared()
    again = partial(load, store=store, shared=shared, overrides=overrides)
    loaded = load_all(pipeline_files(paths), store, shared, overrides=overrides)
    server = Server({pipeline.name: pipeline for pipeline in loaded.values()}, store, settings, shared=shared)
    for file, pipeline in loaded.items():
        _say(f"serving {pipeline.name} ({file}): {pipeline.description or 'no description'}")
    _say(f"the store is {store.folder.root}")
    beside = Reloading(paths, loaded, server, again, _say).run if reloads else None
    await serve(server, _say, beside)


def _say(text: str) -> None:
    click.echo(text, err=True)
