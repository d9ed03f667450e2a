"""Plugins, models, plan, packing, attempts and the runner."""
