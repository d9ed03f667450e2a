"""Readers of text formats: plain text, Markdown and other light markup, subtitles."""
