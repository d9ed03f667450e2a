"""Sinks that ship with ContextNexus."""
