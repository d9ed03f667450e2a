"""`nexus store`: one module for its subcommands; the group itself is in `group`."""
