"""Connector for Ollama's own API."""
