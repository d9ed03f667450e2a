"""The group `nexus models`: what is no subcommand is a pipeline, and nothing at all is the list."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nexus_core.cli.main import ImpliedGroup

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
  nexus models of pipelines/fallback.yaml
  nexus models pipelines/fallback.yaml --json
  nexus models install minilm
  nexus models installed
  nexus models remove minilm
"""


def implied(arguments: Sequence[str]) -> str:
    """Return the subcommand that arguments mean which name none."""
    return "of" if any(not argument.startswith("-") for argument in arguments) else "installed"


@click.group(
    "models",
    cls=ImpliedGroup,
    implied=implied,
    table=COMMANDS,
    shared=_MODULES,
    package="nexus_core.cli.commands.models",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command() -> None:
    """List the models of a pipeline, as `nexus models PIPELINE`, and install models that run on this machine.

    A pipeline file that is named as a subcommand is written with its folder, as in ./install.

    Installed models are in a folder of your own, or in the one that the variable NEXUS_MODELS names.
    """
