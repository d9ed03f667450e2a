"""The group `nexus models`: what is no subcommand is a pipeline, and nothing at all is the list."""

from __future__ import annotations

import click

from nexus_core.cli.main import LazyGroup

COMMANDS = {
    "of": "List the models of a pipeline; `nexus models PIPELINE` for short.",
    "installed": "List the models that are installed on this machine; `nexus models` for short.",
    "install": "Install a model on this machine.",
    "remove": "Remove a model from this machine.",
}
_MODULES = {"of": "of_pipeline", "installed": "installed", "install": "installed", "remove": "installed"}
EPILOG = """\b
Examples:
  nexus models
  nexus models pipelines/fallback.yaml
  nexus models pipelines/fallback.yaml --json
  nexus models install minilm
  nexus models remove minilm
"""


class ModelsGroup(LazyGroup):
    """Takes the path of a pipeline where others take a subcommand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the subcommand that is meant in front of arguments that begin with none."""
        if not args or args[0] not in ctx.help_option_names:
            args = self._with_subcommand(args)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that arguments mean, and the rest of them."""
        return super().resolve_command(ctx, self._with_subcommand(args))

    def _with_subcommand(self, args: list[str]) -> list[str]:
        if args and args[0] in self._table:
            return args
        return ["of" if any(not arg.startswith("-") for arg in args) else "installed", *args]


@click.group(
    "models",
    cls=ModelsGroup,
    table=COMMANDS,
    shared=_MODULES,
    package="nexus_core.cli.commands.models",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command() -> None:
    """List the models of a pipeline, as `nexus models PIPELINE`, and install models that run on this machine.

    Installed models are in a folder of your own, or in the one that the variable NEXUS_MODELS names.
    """
