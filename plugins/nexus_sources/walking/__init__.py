"""Walks folders by patterns and ignore files."""
