"""`nexus context add`: files, folders, pages and standard input into a context."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import click
from attrs import evolve

from nexus_core.cli.commands.context.embed import NONE, checked_model
from nexus_core.cli.commands.context.inputs import ContextInput, InputOptions, places_of, reader_choices, reader_option
from nexus_core.cli.event_loop import run
from nexus_core.cli.option_types import duration, named_paths
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.ingest_report import ingested_json, print_ingested
from nexus_core.cli.output.progress_bar import IngestProgressBar
from nexus_core.cli.output.tables import json_option, plain, print_json
from nexus_core.cli.store_option import store_option
from nexus_core.contract.errors import NexusError, UsageError
from nexus_core.store import origins
from nexus_core.store.database.damage_sampling import refuse_damaged
from nexus_core.store.ingest.ingest import Ingested
from nexus_core.store.records import checked_readers
from nexus_core.store.store import Store
from nexus_core.toolkit.suggest import counted

EPILOG = """\b
Examples:
  nexus context add handbook documents/ --description "The staff handbook"
  nexus context add handbook documents/ --prune
  nexus context add handbook FOLDER --readers group:hr
  nexus context add handbook https://example.com/travel.html --tag travel
  nexus context add code . --exclude "tests/**" --exclude "*.lock"
  nexus context add code git+https://example.com/team/code.git@main --exclude "*.lock"
  nexus context add handbook s3://acme-handbook/docs --set "paths='*.md'"
  nexus context add questions CORPUS.jsonl --language german
  pbpaste | nexus context add notes - --as today.md

\b
Read are documents, office files, mail, tables, source code and any other text: see the page
"documents" of the documentation; of *.jsonl files each line is an item. `nexus context read FILE`
shows what is read of a file. Left out are hidden files, files that are no text, files over 20 MB,
links that lead out of the folder, and what .gitignore and .nexusignore (same language) say.
`nexus context show NAME --skipped` lists what was not read, with the reasons.
"""


@click.command("add", epilog=EPILOG)
@click.argument("name")
@click.argument("places", nargs=-1, required=True, metavar="PATH|URL|-...", callback=named_paths)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Give all items this tag, too (repeatable).")
@click.option(
    "--readers", "granted", multiple=True, metavar="group:NAME",
    help="Let this group alone see what is added, or one of several (repeatable).",
)  # fmt: skip
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave files out; without a slash a name anywhere (repeatable).",
)
@click.option("--follow-links", is_flag=True, help="Read also what links lead to outside of the folder.")
@click.option(
    "--encoding",
    metavar="NAME",
    help="Of files that do not tell theirs; another one than the last time reads all anew.  [default: utf-8]",
)
@reader_option
@click.option("--prune", is_flag=True, help="Remove what was added from there before and is no longer there.")
@click.option("--as", "called", metavar="WORD", help="The name it goes by, in the place of the folder's or file's own.")
@click.option(
    "--language",
    metavar="LANGUAGE",
    help="Of a new context: whose stems are searched.  [default: those of each document]",
)
@click.option("--description", metavar="TEXT", help="Of a new context: what it is.")
@click.option(
    "--embed", "model", metavar="MODEL",
    help="Search it by meaning, too, with a model as in `nexus context embed`.  [default: as before]",
)  # fmt: skip
@click.option(
    "--document-timeout", "limit_s", default="2m", show_default=True, callback=duration("1s", "24h"),
    metavar="DURATION", help="The most that a document may take until its first or next items come.",
)  # fmt: skip
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE",
    help="An option of the source that an address stands for; ${NAME} is what the environment says (repeatable). Of"
    " files and folders max_bytes alone.",
)  # fmt: skip
@click.option("--keep-originals", is_flag=True, help="Keep files of more than 64 KiB themselves in the store, too.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress and no remarks, only what has failed.")
@json_option
@store_option
def command(name: str, places: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Add files, folders, web pages or sources to the context NAME, and make it if it is not there.

    An address such as git+https://..., s3://... or postgresql://... stands for the source that reads it.
    `nexus context sync NAME` reads all of it again. The same again takes in what has changed since, and reads nothing
    else. What cannot be read is reported at the end and stops nothing; then the exit code is 1. Interrupt it as you
    like: the same command goes on where it was.
    """
    if asked["called"] is not None and len(places) > 1:
        raise UsageError("--as names one thing: add several with a command for each")
    checked_readers(asked["granted"], "--readers")
    if asked["model"] is not None:
        asked["model"] = checked_model(asked["model"])
    with IngestProgressBar(quiet=asked["quiet"] or as_json) as counting:
        try:
            done, is_there = run(_add(name, places, asked, counting.see))
        except KeyboardInterrupt:
            counting.stop()
            told = counted(counting.done, "document")
            echo(f"interrupted: {told} done; the same command goes on from there", err=True)
            raise SystemExit(130) from None
    if as_json:
        print_json([ingested_json(place.shown, ingested) for place, ingested in done])
    else:
        for place, ingested in done:
            print_ingested(name, place.shown, ingested, prunes=asked["prune"], quiet=asked["quiet"])
    if not is_there:
        places_told = plain(", ".join(place.shown for place, _ in done))
        echo(f"nothing was read from {places_told}: no context {plain(name)!r} was made", err=True)
    if not is_there or any(ingested.failed for _, ingested in done):
        raise SystemExit(1)


async def _add(
    name: str, places: Sequence[str], asked: dict[str, Any], see: Callable[[int, int, str], None]
) -> tuple[list[tuple[ContextInput, Ingested]], bool]:
    """Return what became of each place, and whether there is a context now."""
    refuse_damaged(Store().folder)
    async with Store() as store:
        store.readers.prepare()
        is_new = name not in [context.name for context in await store.contexts()]
        known = () if is_new else (*await store.documents(name), *await store.skipped(name))
        links, encoding = asked["follow_links"], asked["encoding"] or ""
        manner = InputOptions(
            exclude=asked["exclude"],
            encoding=encoding,
            follow_links=links,
            readers=reader_choices(asked["readers"]),
            overrides=asked["overrides"],
        )
        chosen = places_of(places, known, called=asked["called"], manner=manner)
        try:
            await _prepare(store, name, is_new, asked)
            done = [(place, await _ingest(store, name, place, asked, see)) for place in chosen]
            if asked["model"] == NONE:
                await store.unembed(name)
            elif asked["model"] is not None:
                await store.embed(name, asked["model"], seen=see)
        finally:
            for place in chosen:
                place.close()
            if is_new:  # however it ended: an empty or wrong path makes no context
                await asyncio.shield(_remove_empty(store, name))
        return done, not is_new or name in [context.name for context in await store.contexts()]


async def _ingest(
    store: Store, name: str, place: ContextInput, asked: dict[str, Any], see: Callable[[int, int, str], None]
) -> Ingested:
    granted = asked["granted"] or await _granted_before(store, name, place)
    if place.settings is not None:
        kept = {"tags": list(asked["tags"]), "keep_originals": asked["keep_originals"], "granted": list(granted)}
        settings = {**place.settings, **{key: value for key, value in kept.items() if value}}
        await store.write(origins.keep, name, place.origin, settings)
    ingested = await store.ingest(
        name,
        place.source,
        origin=place.origin,
        within=place.within,
        tags=asked["tags"],
        within_readers=granted,
        prune=asked["prune"],
        keep_originals=asked["keep_originals"],
        limit_s=asked["limit_s"],
        seen=see,
    )
    return _judged(place, ingested)


async def _granted_before(store: Store, name: str, place: ContextInput) -> Sequence[str]:
    """Return who alone could see what was added from there before: to forget it the next time shows it to nobody."""
    found = await store.read(origins.read_all, name)
    return next((each.settings.get("granted", ()) for each in found if each.origin == place.origin), ())


async def _prepare(store: Store, name: str, is_new: bool, asked: dict[str, Any]) -> None:
    """Make the context, or check that what is asked of it is so."""
    if is_new:
        language = asked["language"] or "auto"
        await store.create(name, description=asked["description"] or "", language=language)
        return
    context = await store.context(name)
    for option, own in (("language", context.language), ("description", context.description)):
        if asked[option] is not None and asked[option] != own:
            raise UsageError(f"the context {name!r} is there already, its {option} is {own!r}: leave --{option} out")


async def _remove_empty(store: Store, name: str) -> None:
    with suppress(NexusError):
        if not (await store.context(name)).items:
            await store.delete(name)


def _judged(place: ContextInput, ingested: Ingested) -> Ingested:
    """Take a document that was meant by name and is left out for one that has failed."""
    if place.one and ingested.left_out:
        return evolve(ingested, failed=(*ingested.failed, *ingested.left_out), left_out=())
    return ingested
