"""`nexus schema`: the pipeline language for editors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nexus_core.cli.output.echo import echo
from nexus_core.config.schema import schema
from nexus_core.engine.plugins import PluginRegistry

EPILOG = """\b
Examples:
  nexus schema --output pipeline.schema.json
  nexus schema | less

\b
Editors complete and check a pipeline that begins with this line:
  # yaml-language-server: $schema=./pipeline.schema.json
"""


@click.command("schema", epilog=EPILOG)
@click.option("--output", metavar="FILE", type=click.Path(dir_okay=False), help="Write to FILE instead of stdout.")
def command(output: str | None) -> None:
    """Print the JSON Schema of pipeline files, with the options of every plugin installed here.

    Broken plugins are left out and named on stderr.
    """
    catalogue = PluginRegistry.installed()
    text = json.dumps(schema(catalogue.all_components()), indent=2, ensure_ascii=False)
    for name, reason in catalogue.broken().items():
        echo(f"left out {name}: {reason}", err=True)
    if output is None:
        echo(text)
        return
    try:
        Path(output).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {output}: {error.strerror}") from error
    echo(f"wrote {output}", err=True)
