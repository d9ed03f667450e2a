"""The store that a command uses, chosen by --store, else by NEXUS_STORE, else the user's own."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import plain

if TYPE_CHECKING:
    from nexus_core.store.store import Store

_OPTIONS = ("--store", "--store-url-file")
_Function = TypeVar("_Function", bound=Callable[..., Any])
_T = TypeVar("_T")


def store_option(function: _Function) -> _Function:
    """Add --store: while the command runs, that is the store of all that name none, workers and sources included.

    The command itself is not given it: `Store()` is the store. Groups have the option, too, so that it may stand before
    a subcommand; where both are given, that of the subcommand holds.
    """
    from_file = click.option(
        "--store-url-file", metavar="FILE", callback=_choose_from_file, expose_value=False, is_eager=True,
        type=click.Path(exists=True, dir_okay=False),
        help="A file with the URL of the store in its first line, to keep passwords out of the arguments.",
    )  # fmt: skip
    by_name = click.option(
        "--store", metavar="FOLDER_OR_URL", callback=_choose, expose_value=False, is_eager=True,
        help="The store, a folder or a URL; by default that of NEXUS_STORE, else the one in your data folder.",
    )  # fmt: skip
    return by_name(from_file(function))


def with_store(work: Callable[[Store], Awaitable[_T]], *, create: bool = False, quiet: bool = False) -> _T:
    """Return what is made of the store, open for that long.

    Only with `create` is one made where there is none: a folder that was misspelt stays as it is, not there, and what
    is read is an empty store, and that is said on stderr unless `quiet`.
    """
    from nexus_core.cli.event_loop import run  # `--help` needs none of it
    from nexus_core.store.store import Store

    async def opened(folder: str | None = None) -> _T:
        async with Store(folder) as store:
            return await work(store)

    paths = Store().folder
    if create or paths.exists():
        return run(opened())
    if not quiet:
        echo(f"there is no store in {plain(paths.name)} yet", err=True)
    with TemporaryDirectory() as nowhere:
        return run(opened(nowhere))


def without_store(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command without its store, which its children have by their environment.

    Its URL may hold a password, and arguments are there for all to read.
    """
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*kept, argument, *rest]
        if argument in _OPTIONS:
            next(rest, None)
        elif not argument.startswith(tuple(f"{option}=" for option in _OPTIONS)):
            kept.append(argument)
    return kept


def _choose(context: click.Context, option: click.Parameter, folder: str | None) -> None:
    if folder is not None:
        context.with_resource(_variable(folder))


def _choose_from_file(context: click.Context, option: click.Parameter, path: str | None) -> None:
    if path is None:
        return
    try:
        with open(path, encoding="utf-8-sig") as file:  # editors begin files with a mark of their encoding
            url = file.readline().strip()
    except UnicodeDecodeError:
        raise click.BadParameter(f"{path} is no text in UTF-8: write the URL of the store on its first line") from None
    if not url:
        raise click.BadParameter(f"{path} is empty: write the URL of the store on its first line")
    if "://" not in url:  # half a URL is no folder either, and is not shown: it may hold a password
        raise click.BadParameter(f"the first line of {path} is no URL: write it as in postgresql://USER@HOST/DATABASE")
    context.with_resource(_variable(url))


@contextmanager
def _variable(folder: str) -> Iterator[None]:
    """Let the environment name the folder, which reaches whatever the command starts, and no longer than it runs."""
    from nexus_core.store.database.paths import VARIABLE  # it brings SQLite, which who names none may not need

    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
