"""Contexts and what belongs to them at rest: SQLite for the truth, an index derived from it, originals beside."""
