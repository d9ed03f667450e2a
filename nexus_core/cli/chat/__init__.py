"""The conversation on a terminal: `nexus chat`."""
