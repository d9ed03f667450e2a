"""The group `nexus batch`: what is no subcommand of it begins a batch."""

from __future__ import annotations

from pathlib import Path

import click

from nexus_core.cli.main import LazyGroup
from nexus_core.cli.store_option import store_option
from nexus_core.toolkit.suggest import did_you_mean, listed

COMMANDS = {
    "start": "Begin a batch; the word may be left out: `nexus batch PIPELINE INPUT -o OUTPUT`.",
    "resume": "Go on with a batch that was stopped or killed.",
    "retry": "Do again what has failed.",
    "status": "Show how far a batch is, and what it has used.",
    "export": "Write the results that there are.",
}

EPILOG = """\b
Examples:
  nexus batch assistant.yaml QUESTIONS.jsonl -o answers.jsonl
  nexus batch start assistant.yaml QUESTIONS.csv -o answers.jsonl --budget-tokens 2000000
  nexus batch assistant.yaml QUESTIONS.jsonl -o answers.jsonl --dry-run --limit 20
  nexus batch status answers.jsonl.run
  nexus batch resume answers.jsonl.run
  nexus batch retry answers.jsonl.run
  nexus batch export answers.jsonl.run -o so-far.jsonl

\b
Input, one question a record; what is not given is left out:
  {"id": "q1", "query": "...", "inputs": {"tone": "short"}, "context": "handbook", "conversation": "c1"}
  In CSV and Parquet, columns that are no key of a record are inputs of the pipeline.

\b
Exit codes: 0 all answered, 1 stopped early (resumable), 2 wrong usage or configuration,
  3 some records failed, 4 another process runs it or it was begun with something else, 130 interrupted.
"""


class BatchGroup(LazyGroup):
    """A group whose first argument may be the pipeline of a new batch."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; what is none begins a batch, unless it is nearly one and no file."""
        hint = did_you_mean(args[0], COMMANDS)
        if args[0] not in COMMANDS and hint and not Path(args[0]).exists():
            ctx.fail(f"no command is named {args[0]!r}{hint}, and no file; commands: {listed(COMMANDS)}")
        return super().resolve_command(ctx, args if args[0] in COMMANDS else ["start", *args])


@click.group(
    "batch",
    cls=BatchGroup,
    table=COMMANDS,
    package="nexus_core.cli.commands.batch",
    shared={"resume": "resume", "retry": "resume", "status": "status", "export": "status"},
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "ignore_unknown_options": True},
    subcommand_metavar="PIPELINE INPUT -o OUTPUT | COMMAND [ARGS]...",
)
@store_option
def command() -> None:
    """Run a pipeline over a file of questions: overnight, through rate limits, restarts and failures.

    Everything stands in a folder beside the output (OUTPUT.run): each request before it is sent, each result as it
    comes. So nothing is lost when it is stopped, and nothing is asked twice but what was under way.
    """
