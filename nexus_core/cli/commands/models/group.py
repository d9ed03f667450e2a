"""The group `nexus models`: what is no subcommand is a pipeline, and nothing at all is what can be used."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nexus_core.cli.main import ImpliedGroup

COMMANDS = {
    "available": "List the connectors, their keys and the models that are known; `nexus models` for short.",
    "check": "Send one tiny request to each service that has a key; `nexus models --check` for short.",
    "of": "List the models of a pipeline; `nexus models PIPELINE` for short.",
    "installed": "List the models that are installed on this machine.",
    "install": "Install a model on this machine.",
    "remove": "Remove a model from this machine.",
}
_MODULES = {
    "available": "available",
    "check": "check",
    "of": "of_pipeline",
    "installed": "installed",
    "install": "installed",
    "remove": "installed",
}
_CHECK = "--check"
_OF_AVAILABLE = ("--all", "--connector")
EPILOG = """\b
Examples:
  nexus models
  nexus models --connector openai
  nexus models --check
  nexus models assistant.yaml
  nexus models of assistant.yaml
  nexus models assistant.yaml --json
  nexus models install minilm
  nexus models installed
  nexus models remove minilm
"""


def implied(arguments: Sequence[str]) -> Sequence[str]:
    """Return arguments which name no subcommand with the one that is meant in front."""
    if _CHECK in arguments:
        return ["check", *(each for each in arguments if each != _CHECK)]
    of_available = any(each.partition("=")[0] in _OF_AVAILABLE for each in arguments)
    is_pipeline = any(not each.startswith("-") for each in arguments) and not of_available
    return ["of" if is_pipeline else "available", *arguments]


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
@click.option(_CHECK, is_flag=True, expose_value=False, help="Send one tiny request to each service that has a key.")
def command() -> None:
    """List the models that you can use, or those of a pipeline as `nexus models PIPELINE`, and install some here.

    `nexus models` shows for each connector which key it would use; `nexus models --check` tries them.

    A pipeline file that is named as a subcommand is written with its folder, as in ./install.

    Installed models are in a folder of your own, or in the one that the variable NEXUS_MODELS names.
    """
