"""`nexus mcp`: pipelines for programs that speak MCP."""
