"""HTTP for connectors: session, bodies, errors, event streams."""
