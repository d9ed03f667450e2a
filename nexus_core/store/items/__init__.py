"""Items as rows, with their passages, tags and token counts."""
