"""`nexus context sync`: what contexts were made from, read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from nexus_core.cli.context_sync import ContextSync, Origins, SyncedOrigin, repeat
from nexus_core.cli.option_types import duration
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.ingest_report import ingested_json, print_ingested
from nexus_core.cli.output.progress_bar import IngestProgressBar
from nexus_core.cli.output.tables import json_option, plain, print_json
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import NexusError
from nexus_core.store.store import Store

EPILOG = """\b
Examples:
  nexus context sync
  nexus context sync handbook --no-prune
  nexus context sync handbook code --every 15m
  nexus context sync handbook --watch

\b
Folders, pages and addresses are read as they were added, with the same --tag, --exclude and --set.
A document that is no longer there is removed from the context, and reported; not so where a folder
or service cannot be listed, or has nothing at all.
"""


@click.command("sync", epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--no-prune", "keeps", is_flag=True, help="Keep documents that are no longer there.")
@click.option(
    "--every", "every_s", default=None, callback=duration("1s", "365d"), metavar="DURATION",
    help="Go on and sync so often, such as 15m, until interrupted.",
)  # fmt: skip
@click.option("--watch", is_flag=True, help="Go on and sync folders as soon as their files change.")
@click.option(
    "--document-timeout", "limit_s", default="2m", show_default=True, callback=duration("1s", "24h"),
    metavar="DURATION", help="The most that a document may take until its first or next items come.",
)  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Print only what has failed.")
@json_option
@store_option
def command(names: tuple[str, ...], as_json: bool, quiet: bool, **asked: Any) -> None:
    """Read again what the contexts NAME, by default all, were made from; unchanged documents are not read.

    The exit code is 1 when something could not be read; what was read of it before stays, and the rest is in all the
    same. With --every and --watch it goes on after a failure.
    """
    with IngestProgressBar(quiet=quiet or as_json) as counting:

        async def work(store: Store) -> bool:
            sync = ContextSync(store=store, prune=not asked["keeps"], limit_s=asked["limit_s"], seen=counting.see)
            goes_on = asked["every_s"] is not None or asked["watch"]

            async def round(only: Origins | None) -> bool:
                done = await sync.run(names, only=only)
                counting.stop()
                _report(done, as_json=as_json, prunes=not asked["keeps"], quiet=quiet)
                return any(each.has_failed for each in done)

            async def go_on(only: Origins | None) -> None:
                try:
                    await round(only)
                except NexusError as error:  # another process may have the store for now
                    echo(plain(str(error)), err=True)

            failed = await round(None)
            if goes_on:
                await repeat(go_on, sync, every_s=asked["every_s"], watch=asked["watch"])
            return failed

        try:
            failed = with_store(work)
        except KeyboardInterrupt:
            counting.stop()
            raise SystemExit(130) from None
    if failed:
        raise SystemExit(1)


def _report(done: Sequence[SyncedOrigin], *, as_json: bool, prunes: bool, quiet: bool) -> None:
    if as_json:
        print_json([_as_json(each) for each in done])
        return
    for each in done:
        if each.ingested is not None:
            print_ingested(each.context, each.shown, each.ingested, prunes=prunes, quiet=quiet)
        elif each.failure:
            echo(f"{each.context}: {plain(each.shown)}\n  failed: {plain(each.failure)}", err=True)
        elif not quiet:
            echo(f"{each.context}: {plain(each.shown)} was left as it is\n  {each.left_alone}", err=True)
    if not (done or quiet):
        echo("there is nothing to sync: make a context with `nexus context add NAME PATH`", err=True)


def _as_json(each: SyncedOrigin) -> dict[str, Any]:
    told: dict[str, Any] = {"context": each.context, "place": each.shown}
    if each.ingested is not None:
        return told | ingested_json(each.shown, each.ingested)
    return told | ({"error": each.failure} if each.failure else {"leftAlone": each.left_alone})
