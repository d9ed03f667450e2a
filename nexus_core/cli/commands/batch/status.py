"""`nexus batch status`: how far a batch is; it may be running meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import click
from attrs import asdict

from nexus_core.batch.journal import Journal
from nexus_core.batch.run_folder import RunFolder
from nexus_core.cli.commands.batch.running import folder_argument
from nexus_core.cli.output.batch_progress import told
from nexus_core.cli.output.echo import echo


@click.command("status")
@folder_argument
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def command(run_dir: Path, as_json: bool) -> None:
    """Show how far the batch in RUN_DIR is, and what it has used."""
    folder = RunFolder(run_dir)
    manifest = folder.read_manifest()
    journal = Journal.open(folder.journal, writes=False)
    try:
        totals = journal.totals()
    finally:
        journal.close()
    if as_json:
        figures = asdict(totals) | {
            "pending": totals.pending,
            "kinds": dict(totals.kinds),
            "running": folder.is_locked(),
        }
        echo(json.dumps(figures, indent=2))
        return
    echo(f"{manifest.pipeline} over {manifest.input}, results in {manifest.output}")
    echo(told(totals))
    echo("It is running." if folder.is_locked() else "It is not running." if totals.pending else "It is done.")
