"""JSON Lines, as a source and as a sink."""
