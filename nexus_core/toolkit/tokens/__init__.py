"""Rank files of the OpenAI encodings, packaged so that counting works offline."""
