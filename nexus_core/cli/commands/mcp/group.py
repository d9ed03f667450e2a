"""The group `nexus mcp`: what is no subcommand are the pipelines to serve."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nexus_core.cli.main import ImpliedGroup

SERVE = "serve"
COMMANDS = {
    SERVE: "Serve pipelines over stdin and stdout; `nexus mcp [PIPELINES...]` for short.",
    "install": "Print, or write, what the usual clients are told, so that they start it or ask a server.",
}
EPILOG = """\b
Examples:
  nexus mcp
  nexus mcp assistant.yaml
  nexus mcp . --store STORE/
  nexus mcp serve . --allow-program mcp-server-time
  nexus mcp install
  nexus mcp install --client cursor --write
  nexus mcp install . --client claude-code
  nexus mcp install --url https://nexus.example.com/mcp --client vscode

\b
It takes the extra contextnexus[mcp]. A server has the same at /mcp: `nexus serve`.
"""


def implied(arguments: Sequence[str]) -> Sequence[str]:
    """Return arguments which name no subcommand with the one that they mean in front: they are pipelines to serve."""
    return [SERVE, *arguments]


@click.group(
    "mcp",
    cls=ImpliedGroup,
    implied=implied,
    table=COMMANDS,
    package="nexus_core.cli.commands.mcp",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command() -> None:
    """Serve pipelines over MCP to the program that starts this, such as an editor or an assistant.

    `nexus mcp [PIPELINES...]` serves YAML files or folders of them, by default the folder `pipelines`; if there is no
    such folder, the pipeline of `nexus ask` over every context of the store. It speaks over stdin and stdout, and
    writes its log to stderr. Whoever starts it sees the whole store, as all commands do.

    A client lists these tools: search, read, ask, and one for each pipeline. Contexts, items and documents are
    resources, the prompts of pipelines are prompts.
    """
