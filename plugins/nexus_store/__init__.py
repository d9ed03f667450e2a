"""The source `store`, which searches a context at rest."""
