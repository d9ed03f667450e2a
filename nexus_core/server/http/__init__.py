"""HTTP itself: application, connections, bodies, event streams, OpenAPI."""
