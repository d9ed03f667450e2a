"""Templates in a sandbox."""
