"""`nexus batch`: one module for each subcommand; the group itself is in `group`."""
