"""The group `nexus context`: its subcommands by name and summary, each imported when it is called."""

from __future__ import annotations

import click

from nexus_core.cli.main import LazyGroup
from nexus_core.cli.store_option import store_option

COMMANDS = {
    "add": "Add files, folders, web pages or standard input; again, to take in what has changed.",
    "sync": "Read again what contexts were made from: once, every so often, or when files change.",
    "list": "List the contexts.",
    "show": "Show a context and its documents, or one item.",
    "items": "List the items of a context.",
    "search": "Search a context.",
    "embed": "Let a context be searched by meaning, too, or by another model.",
    "read": "Show a file as it is read, block by block.",
    "grant": "Say who may see a context.",
    "tag": "Add tags to items, or remove them.",
    "remove": "Remove items, documents or a whole context.",
    "export": "Write a context to a file.",
    "import": "Make a context of an exported file.",
    "check": "Check that everything is whole, and repair the index.",
}

EPILOG = """\b
Examples:
  nexus context add handbook docs/
  nexus context sync handbook
  nexus context search handbook "carry over leave"
  nexus ask handbook "How many days of leave can be carried over?"
"""


@click.group(
    "context",
    cls=LazyGroup,
    table=COMMANDS,
    package="nexus_core.cli.commands.context",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@store_option
def command() -> None:
    """Keep contexts: named collections of items that are searched and asked again and again.

    They are kept in a folder of your own, or in the one that --store or the variable NEXUS_STORE names.
    """
