"""Connector for Google's Gemini API."""
