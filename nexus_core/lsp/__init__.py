"""A language server for pipeline files: what `nexus lint` knows, in an editor."""
