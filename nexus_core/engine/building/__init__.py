"""Builds what a checked file declares: components, models that are given to them, steps."""
