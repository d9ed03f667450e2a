"""`nexus lsp`: the language server for editors, over standard input and output."""

from __future__ import annotations

import gc
import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.lsp import server
else:
    server = LazyModule("nexus_core.lsp.server")  # with pygls, for editors alone

EPILOG = """\b
Examples:
  nexus lsp

\b
Editors start it themselves; how each is told to is on the page "set up shell and editor" of the documentation.
"""


@click.command("lsp", epilog=EPILOG)
@click.option("--stdio", is_flag=True, help="What it does in any case; some editors say so.")
def command(stdio: bool) -> None:
    """Serve an editor: diagnostics as lint has them, completion, hovers, definitions, quick fixes.

    It speaks the Language Server Protocol over standard input and output, and needs the extra `lsp`:
    pip install 'contextnexus[lsp]'. The plugin files that an open pipeline names are run to learn what they offer, as
    `nexus lint` runs them, and again when they were saved.
    """
    if find_spec("pygls") is None:
        raise click.UsageError("the language server needs the package pygls: pip install 'contextnexus[lsp]'")
    # What plugins print or read when they are imported must not get between the messages.
    reading, writing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    gc.set_threshold(50_000, 20, 100)  # it lives long, unlike what the command starts for
    server.PipelineServer().run(reading, writing)
