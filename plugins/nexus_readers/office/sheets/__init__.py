"""Sheets: Excel and OpenDocument."""
