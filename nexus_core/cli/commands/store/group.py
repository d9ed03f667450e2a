"""The group `nexus store`: whole stores, and what is done with them."""

from __future__ import annotations

import click

from nexus_core.cli.main import LazyGroup
from nexus_core.cli.store_option import store_option

COMMANDS = {
    "copy": "Copy a store into another one, which is empty: from one place, or database, to another.",
    "backup": "Keep a copy of the store, or bring one up to it.",
    "restore": "Make an empty store what a backup holds.",
    "verify": "Check that a store or a backup is whole, or holds what another one does.",
}

EPILOG = """\b
Examples:
  nexus store backup /mnt/backups/nexus
  nexus store verify /mnt/backups/nexus
  nexus store restore /mnt/backups/nexus --store restored
  nexus store copy ~/.local/share/contextnexus/store other-store
"""


@click.group(
    "store",
    cls=LazyGroup,
    table=COMMANDS,
    shared=dict.fromkeys(COMMANDS, "copies"),
    package="nexus_core.cli.commands.store",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@store_option
def command() -> None:
    """Copy, back up, restore and verify whole stores: contexts, conversations, keys, usage and originals.

    Indexes are not copied: each store builds its own from its items.
    """
