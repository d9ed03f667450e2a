"""What answers of model services say: errors, ends, usage, tool calls, in each vendor's way."""
