"""Snapshots of indexes: published beside the originals, for servers that have none yet."""
