"""Sinks that keep figures and traces of runs for those who watch them: `prometheus` and `otel`."""
