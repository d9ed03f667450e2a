"""Searches for more than the question, for the gather steps that say `expand`."""
