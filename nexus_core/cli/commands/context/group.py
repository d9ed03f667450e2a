"""The group `nexus context`: its subcommands by name and summary, each imported when it is called."""

from __future__ import annotations

import click

from nexus_core.cli.main import LazyGroup
from nexus_core.cli.store_option import store_option

COMMANDS = {
    "add": "Add files, folders, web pages or standard input, or update them.",
    "sync": "Update contexts from their sources: once, periodically, or when files change.",
    "list": "List the contexts.",
    "show": "Show a context and its documents, or one item.",
    "items": "List the items of a context.",
    "search": "Search a context.",
    "embed": "Embed a context for semantic search, or change its embedding model.",
    "read": "Show how a file is parsed, block by block.",
    "grant": "Restrict a context to some groups.",
    "tag": "Add or remove tags of items.",
    "remove": "Remove items, documents or a whole context.",
    "export": "Write a context to a file.",
    "import": "Create a context from an exported file.",
    "check": "Check the integrity of a store, and repair what can be rebuilt.",
}

EPILOG = """\b
Examples:
  nexus context add handbook documents/
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
    """Manage contexts: named, persistent collections of items to search and query.

    They are stored in your data folder, or in the store given by --store or the variable NEXUS_STORE.
    """
