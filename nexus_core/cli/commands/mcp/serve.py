"""`nexus mcp [PIPELINES...]`: MCP over stdin and stdout."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from nexus_core.cli.commands.serve import chosen_pipelines
from nexus_core.cli.event_loop import run
from nexus_core.cli.option_types import duration, named_paths
from nexus_core.cli.output.log_format import write_log
from nexus_core.cli.run_options import programs_option
from nexus_core.cli.store_option import store_option
from nexus_core.contract.errors import UsageError
from nexus_core.server.pipelines import load_all, pipeline_files
from nexus_core.server.settings import ServerSettings
from nexus_core.store.database.damage_sampling import refuse_damaged
from nexus_core.store.store import Store
from nexus_core.toolkit.shared_resources import SharedResources

MISSING = "this takes an extra: pip install 'contextnexus[mcp]'"


@click.command("serve")
@click.argument("pipelines", nargs=-1, callback=named_paths)
@click.option(
    "--run-timeout", "deadline_s", default="10m", show_default=True, callback=duration("1s", "24h"),
    metavar="DURATION", help="Time limit of a run.",
)  # fmt: skip
@programs_option
@store_option
def command(pipelines: Sequence[str], deadline_s: float, programs: tuple[str, ...]) -> None:
    """Serve PIPELINES over stdin and stdout, by default those in the folder `pipelines`.

    If there is no such folder, it serves the pipeline of `nexus ask` over every context of the store. The log goes to
    stderr. All pipelines are checked first; if any has a problem, it does not start.
    """
    protocol = _protocol()
    paths, overrides = chosen_pipelines(pipelines)
    write_log()
    store, shared = Store(), SharedResources(programs=programs)
    refuse_damaged(store.folder)
    loaded = load_all(pipeline_files(paths), store, shared, overrides=overrides)
    served = {pipeline.name: pipeline for pipeline in loaded.values()}
    run(protocol.serve_stdio(served, store, ServerSettings(deadline_s=deadline_s), shared))


def _protocol() -> Any:
    """Return the module that speaks MCP; raises UsageError where its extra is not installed."""
    try:
        return import_module("nexus_core.server.mcp.stdio")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise UsageError(MISSING) from error
