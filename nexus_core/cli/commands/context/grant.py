"""`nexus context grant`: who may see a context."""

from __future__ import annotations

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, plain, print_json
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.store.store import Store

EPILOG = """\b
Examples:
  nexus context grant payroll group:hr group:management
  nexus context grant payroll group:management
  nexus context grant handbook --everybody

\b
Keys are in groups: `nexus keys new --owner ann --group group:hr`. To whoever may not see it a context
is not there. Items may be granted to fewer: `nexus context add NAME PATH --readers group:hr`. This
shell sees everything, and so do keys with the scope `admin`. `nexus context show NAME` tells who may
see a context.
"""


@click.command("grant", epilog=EPILOG)
@click.argument("name")
@click.argument("groups", nargs=-1, metavar="group:NAME...")
@click.option("--everybody", is_flag=True, help="Let everybody who may ask it see it again.")
@json_option
@store_option
def command(name: str, groups: tuple[str, ...], everybody: bool, as_json: bool) -> None:
    """Let some groups alone see the context NAME, in the place of those that could before.

    It holds at once, also for conversations that were kept: who may not see a context any more is
    not shown what was answered from it.
    """
    if everybody == bool(groups):
        raise UsageError("say who may see it: name groups, as group:hr, or --everybody")

    async def change(opened: Store) -> tuple[str, ...]:
        await opened.grant(name, groups)
        return (await opened.context(name)).readers

    readers = with_store(change)
    if as_json:
        return print_json({"name": name, "readers": list(readers)})
    who = plain(", ".join(readers)) if readers else "everybody who may ask it"
    return echo(f"{plain(name)} is seen by {who}")
