"""`nexus context`: one module for each subcommand."""

from nexus_core.cli.context.group import command as command
