"""`nexus context`: one module for each subcommand."""

from nexus_core.cli.commands.context.group import command as command
