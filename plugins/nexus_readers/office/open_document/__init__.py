"""OpenDocument texts, presentations and drawings."""
