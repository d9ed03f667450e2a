"""Completion of names in shells: contexts, pipelines, models, conversations, plugins."""
