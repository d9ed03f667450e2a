"""Connector for Amazon Bedrock's Converse API."""
