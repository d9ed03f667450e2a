"""Sources that ship with ContextNexus."""
