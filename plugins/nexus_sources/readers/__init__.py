"""Readers: from the bytes of a format to sections."""
