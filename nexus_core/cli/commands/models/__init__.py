"""`nexus models`: the models of a pipeline, and those that are installed on this machine."""
