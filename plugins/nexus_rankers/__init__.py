"""Rankers that ship with ContextNexus."""
