"""Templates that ship with ContextNexus."""
