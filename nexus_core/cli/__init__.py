"""The `nexus` command, one module per subcommand."""
