"""`nexus serve`: pipelines over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import click

from nexus_core.contract.errors import UsageError
from nexus_core.server.serve import Server, serve
from nexus_core.server.serving import load_all, pipeline_files
from nexus_core.server.settings import Settings
from nexus_core.store.store import Store
from nexus_core.toolkit.shared import Shared

EPILOG = """\b
Examples:
  nexus serve
  nexus serve pipelines/handbook.yaml --port 8080
  nexus serve pipelines/ --prefix /ask/v1
"""
DEFAULT = "pipelines"


@click.command("serve", epilog=EPILOG)
@click.argument("pipelines", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--prefix", default="/api", show_default=True, help="What the addresses of the query API begin with.")
@click.option("--store", metavar="FOLDER", help="The store; by default the one that NEXUS_STORE names, else your own.")
def command(pipelines: Sequence[str], host: str, port: int, prefix: str, store: str | None) -> None:
    """Serve PIPELINES, YAML files or folders of them, by default the folder `pipelines`.

    All are checked first: where any has a problem, nothing is served.
    """
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise UsageError(f"the prefix {prefix!r} must begin with a slash and not end with one, as in /api")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_serve(pipelines or (DEFAULT,), Settings(host=host, port=port, prefix=prefix), store))


async def _serve(paths: Sequence[str], settings: Settings, folder: str | None) -> None:
    store = Store(folder)
    pipelines = load_all(pipeline_files(paths), store, Shared())
    for pipeline in pipelines.values():
        click.echo(f"serving {pipeline.name}: {pipeline.description or 'no description'}", err=True)
    await serve(Server(pipelines, store, settings), lambda text: click.echo(text, err=True))
