"""The MCP server: the tools, resources and prompts that programs find at `/mcp`, or over stdin and stdout."""
