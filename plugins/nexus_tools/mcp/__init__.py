"""The tools of MCP servers: programs that are started, and services over HTTP."""
