"""What makes plugins short: HTTP, event streams, token counts, secrets, text and templates."""
