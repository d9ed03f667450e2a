"""Packs a draft into a prompt that fits the model's window."""
