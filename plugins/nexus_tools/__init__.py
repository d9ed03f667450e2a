"""Tools that a model may call: a search of the run's own context."""
