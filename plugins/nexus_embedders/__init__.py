"""The embedders that run on this machine, found by the group `contextnexus.embedders`."""
