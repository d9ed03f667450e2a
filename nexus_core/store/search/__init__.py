"""Full-text search over the items of a context."""
