"""The `steps` of a pipeline file, read and checked."""
