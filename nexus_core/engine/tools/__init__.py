"""Tools that a model calls during a run."""
