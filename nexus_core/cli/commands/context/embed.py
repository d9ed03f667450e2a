"""`nexus context embed`: vectors for a search by meaning, of another model, or none any more."""

from __future__ import annotations

import os
from pathlib import Path

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.progress_bar import IngestProgressBar
from nexus_core.cli.output.tables import plain
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.store.store import Store
from nexus_core.toolkit.embedding.registry import embedder_names, embedder_problem
from nexus_core.toolkit.suggest import counted

NONE = "none"
"""What stands for no model."""
EPILOG = """\b
Examples:
  nexus context embed handbook --model static
  nexus context embed handbook --model minilm
  nexus context embed handbook --model openai:text-embedding-3-small
  nexus context embed handbook --model none
"""


@click.command("embed", epilog=EPILOG)
@click.argument("name")
@click.option(
    "--model",
    required=True,
    metavar="MODEL",
    help="`static`, `minilm`, the folder of a model, PLUGIN:MODEL of a connector, or `none`.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@store_option
def command(name: str, model: str, quiet: bool) -> None:
    """Let the context NAME be searched by meaning, too: give vectors to its items, by a model that it remembers.

    Until all have them it is searched as before. Interrupt it as you like: the same command goes on where it was. What
    is added later gets vectors by itself.
    """
    chosen = checked_model(model)
    with IngestProgressBar(quiet=quiet) as counting:

        async def work(store: Store) -> int:
            if chosen == NONE:
                await store.unembed(name)
                return 0
            return await store.embed(name, chosen, seen=counting.see)

        try:
            count = with_store(work)
        except KeyboardInterrupt:
            counting.stop()
            echo(f"interrupted after {counted(counting.done, 'item')}; the same command goes on from there", err=True)
            raise SystemExit(130) from None
    if chosen == NONE:
        echo(f"{plain(name)}: searched by words alone")
    else:
        told = counted(count, "item has", "items have")
        echo(f"{plain(name)}: {told} new vectors; searched by words and by meaning ({plain(chosen)})")


def checked_model(model: str) -> str:
    """Return a model as a context remembers it, a folder by its whole path; raises UsageError for what is of no use."""
    if model == NONE:
        return model
    if not model.strip():
        raise UsageError(f"the model is empty: name one, such as `static`, or `{NONE}`")
    folder = Path(os.path.expanduser(model))
    is_path = model not in embedder_names() and folder.is_dir()
    chosen = str(folder.absolute()) if is_path else model
    problem = embedder_problem(chosen)
    if problem:
        raise UsageError(problem)
    return chosen
