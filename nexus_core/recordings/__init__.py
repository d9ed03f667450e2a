"""Recordings: what models were asked and what they answered, in files, to be answered from without a service."""
