"""The readers: one module for each family of formats, found by the group `contextnexus.readers`."""
