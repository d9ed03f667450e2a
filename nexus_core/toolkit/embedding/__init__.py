"""Embedders by name: what turns texts into vectors, wherever vectors are made or searched."""
