"""Connector for Anthropic's Messages API."""
