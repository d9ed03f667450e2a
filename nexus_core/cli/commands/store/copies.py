"""`nexus store copy`, `backup`, `restore` and `verify`: whole stores."""

from __future__ import annotations

import click

from nexus_core.cli.event_loop import run
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.progress_bar import IngestProgressBar
from nexus_core.cli.output.tables import json_option, plain, print_json
from nexus_core.cli.store_option import store_option
from nexus_core.contract.errors import UsageError
from nexus_core.store.copying import Copied, StoreCounts, check_target, count
from nexus_core.store.store import Store
from nexus_core.toolkit.suggest import counted, listed


@click.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> None:
    """Copy the store FROM to TO, which must be empty or new; each is a folder or the URL of a database.

    Every row and original is compared at the end. If it is interrupted, run the same command again to continue. Do not
    use TO meanwhile. FROM may be in use; what is written to it after the start is not copied.
    """
    _say(_copied(source, target, as_backup=False), target)


@click.command("backup")
@click.argument("target", metavar="FOLDER")
@store_option
def backup(target: str) -> None:
    """Back up the store to FOLDER; if there is a backup, update it: only differences are written.

    The backup is a store that can be opened; do not write to it. The store may be in use.
    """
    _say(_copied(None, target, as_backup=True), target)


@click.command("restore")
@click.argument("source", metavar="FOLDER")
@store_option
def restore(source: str) -> None:
    """Restore the backup in FOLDER to the store that --store names, which must be empty or new."""
    _say(_copied(source, None, as_backup=False), Store(None).folder.name)


@click.command("verify")
@click.argument("other", metavar="[BACKUP]", required=False)
@json_option
@store_option
def verify(other: str | None, as_json: bool) -> None:
    """Check that the store is whole, as `nexus context check` does, and that BACKUP holds the same rows and originals.

    Each problem is printed on a line; the exit code is 1 if there is any. If there is none, what was checked is
    counted.
    """
    problems, counts = run(_problems(other))
    if as_json:
        print_json(list(problems))
    elif problems:
        echo("\n".join(map(plain, problems)))
    else:
        echo(f"all is well: {_counted(counts)}" + ("" if other is None else f"; {plain(other)} holds the same"))
    if problems:
        raise SystemExit(1)


def _copied(source: str | None, target: str | None, *, as_backup: bool) -> Copied:
    async def copied() -> Copied:
        with IngestProgressBar(quiet=False) as counting:
            async with _existing(source) as ours, _fresh(target) as theirs:
                return await ours.copy_to(theirs, as_backup=as_backup, seen=counting.see)

    return run(copied())


async def _problems(other: str | None) -> tuple[tuple[str, ...], StoreCounts]:
    async with _existing(None) as store:
        problems, counts = await store.check(), await store.read(count)
        if other is not None:
            async with _existing(other) as backup:
                problems += tuple(f"{other}: {told}" for told in await store.differences(backup))
    return problems, counts


def _counted(counts: StoreCounts) -> str:
    of = [
        counted(counts.contexts, "context"),
        counted(counts.items, "item"),
        counted(counts.conversations, "conversation"),
        counted(counts.keys, "key"),
    ]
    return f"{listed(of)} in {counted(counts.rows, 'row')}, and {counted(counts.originals, 'original')}"


def _existing(place: str | None) -> Store:
    """Return a store that is there, by default the one of --store; raises UsageError where there is none."""
    store = Store(place)
    if not store.folder.exists():
        raise UsageError(f"there is no store in {store.folder.name}: name the folder of one")
    return store


def _fresh(place: str | None) -> Store:
    """Return a store, or one that is not there yet; raises UsageError where the folder holds something else."""
    store = Store(place, unfinished=True)
    check_target(store.folder)
    return store


def _say(copied: Copied, place: str) -> None:
    rows, originals = counted(copied.rows, "row"), counted(copied.originals, "original")
    echo(f"{place}: {rows}, {copied.written:,} of them written now; {originals} written; all were compared")
