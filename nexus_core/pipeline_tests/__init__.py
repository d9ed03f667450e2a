"""Runs the tests of pipelines: scripted models, no network, no waits."""
