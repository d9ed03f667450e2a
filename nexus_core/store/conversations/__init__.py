"""Conversations at rest."""
