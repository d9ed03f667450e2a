"""Readers of data: delimited and columnar tables, notebooks, JSON, YAML, XML and other files of keys and values."""
