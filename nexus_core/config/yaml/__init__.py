"""Reads YAML into a tree of nodes with their places, strictly and within bounds."""
